"""What a teacher hands out and takes in: editions of the book, notebooks for Lab, slides, grades."""
