"""The training graph: its plain data, its JSON form, its structure and its closed-form costs."""
