# A challenger: logistic regression, trained and served in R.
#
#   Rscript logit.R train    fits it to artefacts/training.csv
#   Rscript logit.R serve    serves what was fitted

here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1]))
.libPaths(c(file.path(here, "..", "..", ".tools", "r-library"), .libPaths()))
artefact <- function(name) file.path(here, "artefacts", name)

# A text that training never saw counts as the first one that it saw: predict() would refuse it.
with_known_levels <- function(applicants, levels) {
  for (column in names(levels)) {
    text <- as.character(applicants[[column]])
    known <- levels[[column]]
    applicants[[column]] <- factor(ifelse(text %in% known, text, known[1]), known)
  }
  applicants
}

train <- function() {
  applicants <- read.csv(artefact("training.csv"), stringsAsFactors = TRUE)
  applicants$outcome <- applicants$outcome == "bad"
  # step() leaves out the columns that Akaike's criterion finds not worth their coefficients.
  fit <- step(glm(outcome ~ ., binomial, applicants), trace = 0)
  saveRDS(fit, artefact("logit.rds"))
}

serve <- function() {
  library(rendezvous)
  fit <- readRDS(artefact("logit.rds"))
  score <- function(applicants) {
    probability <- unname(predict(fit, with_known_levels(applicants, fit$xlevels), type = "response"))
    data.frame(default_probability = probability, label = ifelse(probability >= 0.5, "bad", "good"))
  }
  model <- rdv_model(
    score,
    name = "logit",
    outputs = c(default_probability = "FP64", label = "STRING"),
    task = "classification",
    labels = c("good", "bad"),
    description = "Logistic regression: glm() with columns chosen by step()."
  )
  rdv_serve(model, endpoint = "credit")
}

switch(commandArgs(TRUE)[1], train = train(), serve = serve(), stop("usage: logit.R train|serve"))
