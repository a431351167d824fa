"""`make bench`: measures lblab itself, and compares with the bars that it set itself."""
