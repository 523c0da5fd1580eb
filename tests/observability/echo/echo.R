# A model that gives back what it gets, after ECHO_DELAY_MS; a number below 0 it refuses. The R one of three.
library(rendezvous)

delay_s <- as.numeric(Sys.getenv("ECHO_DELAY_MS", "0")) / 1000

echo <- function(table) {
  if (any(table$x < 0)) stop("x is below 0")
  Sys.sleep(delay_s)
  data.frame(y = table$x)
}

rdv_serve(
  rdv_model(echo, name = "echo", outputs = c(y = "FP64")),
  endpoint = Sys.getenv("RENDEZVOUS_ENDPOINT")
)
