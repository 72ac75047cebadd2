module roving/peers/go

go 1.22
