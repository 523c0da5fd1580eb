# Records outcomes as the test expects them, some of them twice, and prints what a wrong one is told.
library(rendezvous)
client <- rdv_client(commandArgs(TRUE)[1], endpoint = "sum")
for (attempt in 1:2) {
  rdv_record(client, 1, request_id = "r-1", row = 1, observed_at = as.Date("2026-05-01"), source = "collections",
             feedback_id = "truth-r")
  rdv_record(client, "too strict", kind = "verdict", key = c(customer_id = "C-17"), feedback_id = "verdict-r")
  rdv_record(client, -0.5, kind = "reward", request_id = "r-2", feedback_id = "mine-r")
}
tryCatch(
  rdv_record(client, "x", request_id = "r", output = "lable"),
  rendezvous_invalid_request = function(error) cat(error$attributes[["outcome.0"]], "\n")
)
