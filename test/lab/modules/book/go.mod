module lab/book

go 1.26.5
