module lblab/apitypes

go 1.21
