"""How risky a goods item is: attributes, prices, past inspections, reuse and splitting."""
