# A logistic regression by its coefficients: the R one of three that must agree; the file is described in logit.py.
library(rendezvous)

rows <- read.delim(
  Sys.getenv("LOGIT_COEFFICIENTS"),
  header = FALSE, quote = "", colClasses = "character", fill = TRUE, na.strings = character(),
  col.names = c("kind", "column", "second", "third")
)

score <- function(applicants) {
  log_odds <- numeric(nrow(applicants))
  for (row in split(rows, seq_len(nrow(rows)))) {
    if (row$kind == "intercept") {
      log_odds <- log_odds + as.numeric(row$column)
    } else if (row$kind == "number") {
      values <- as.numeric(applicants[[row$column]])
      values[is.na(values)] <- as.numeric(row$third)
      log_odds <- log_odds + as.numeric(row$second) * values
    } else {
      values <- as.character(applicants[[row$column]])
      log_odds <- log_odds + as.numeric(row$third) * (!is.na(values) & values == row$second)
    }
  }
  data.frame(default_probability = 1 / (1 + exp(-log_odds)))
}

rdv_serve(
  rdv_model(score, name = "logit", outputs = c(default_probability = "FP64")),
  endpoint = Sys.getenv("RENDEZVOUS_ENDPOINT")
)
