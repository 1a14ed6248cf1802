"""From a photo and a prompt to masks at the photo's size, and pictures of them."""
