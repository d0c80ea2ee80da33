"""Files of goods and of declarations → records to train and judge on."""
