library(testthat)
library(rendezvous)

test_check("rendezvous")
