"""What each chapter can be told, with ranges."""
