"""The console's database: tables, what events and inspectors change, what pages ask."""
