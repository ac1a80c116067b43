"""How a method is run: device, precision, memory, and building it from its weights."""
