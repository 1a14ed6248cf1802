"""What an app's team gets beside the files: pages of code made for them, and the sample app."""
