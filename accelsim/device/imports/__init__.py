"""Result files of array models, read as rows of an array table."""
