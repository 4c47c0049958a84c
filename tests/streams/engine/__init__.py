"""The rules C1 to C24 as far as the engine holds them, each test named after the rule."""
