"""Tables, repositories, engine and migrations: what is finished, and what Meta reported."""
