"""The console's database: tables, changes by events and inspectors, queries of the pages."""
