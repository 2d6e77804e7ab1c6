module lab/netpol

go 1.26.5
