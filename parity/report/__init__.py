"""Mean and worst figures, pictures and the files and tables a report is written to."""
