"""Files of the user: tables, images, texts."""
