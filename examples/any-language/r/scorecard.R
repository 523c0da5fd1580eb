# The scorecard in R, on the SDK; what it serves is told by RENDEZVOUS_ENDPOINT and others.
library(rendezvous)

# Follows the table in the README of this example. `applicants` is a data frame; a missing value is NA.
score <- function(applicants) {
  account <- applicants$checking_account
  months <- applicants$duration_months
  amount <- applicants$credit_amount
  points <- 15 +
    ifelse(is.na(account), -5, 15 * (account %in% "no checking account") - 15 * (account %in% "... < 0 DM")) +
    10 * (months <= 12) - 10 * (months > 36) -
    5 * (applicants$age_years < 25) -
    ifelse(is.na(amount), 8, amount / 1000)
  probability <- 1 / (1 + 2^(points / 15))
  data.frame(
    default_probability = probability,
    label = ifelse(probability >= 0.5, "bad", "good")
  )
}

rdv_serve(rdv_model(
  score,
  name = "r",
  inputs = list(
    checking_account = rdv_column("STRING", allow_missing = TRUE),
    duration_months = rdv_column("INT64"),
    credit_amount = rdv_column("FP64", allow_missing = TRUE),
    age_years = rdv_column("INT64")
  ),
  outputs = c(default_probability = "FP64", label = "STRING"),
  task = "classification",
  labels = c("good", "bad"),
  description = "A scorecard of hand-written rules."
))
