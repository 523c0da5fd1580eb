#' The model program of the conformance kit
#'
#' Serves a model that echoes its input and does on command what models do wrong; with `RENDEZVOUS_PROBE=trivial` one
#' that answers its first FP64 column, for benchmarks.
#' Everything else it takes from the environment, as [rdv_serve()] does.
#'
#' @param trivial Whether to serve the trivial model. Default: what `RENDEZVOUS_PROBE` says.
#' @param ... Arguments of [rdv_serve()].
#' @return Nothing; returns after the drain.
#' @examples
#' \dontrun{
#' rdv_probe(endpoint = "credit")
#' }
#' @export
rdv_probe <- function(trivial = identical(Sys.getenv("RENDEZVOUS_PROBE"), "trivial"), ...) {
  rdv_serve(if (trivial) trivial_model() else probe_model(), ...)
}

trivial_model <- function() {
  rdv_model(
    score = function(df) list(y = df[[which(vapply(df, is.double, NA) & !vapply(df, is.object, NA))[1]]]),
    name = "probe", task = "trivial"
  )
}

probe_columns <- function() {
  column <- function(type, ...) rdv_column(type, ..., allow_missing = TRUE, allow_nan = startsWith(type, "FP"))
  list(
    bool = column("BOOL"), uint8 = column("UINT8"), uint16 = column("UINT16"), uint32 = column("UINT32"),
    uint64 = column("UINT64"), int8 = column("INT8"), int16 = column("INT16"), int32 = column("INT32"),
    int64 = column("INT64"), fp16 = column("FP16"), fp32 = column("FP32"), fp64 = column("FP64"),
    string = column("STRING"), bytes = column("BYTES"), vector = column("FP64", shape = 3),
    matrix = column("INT32", shape = c(2, 2)), texts = column("STRING", shape = 2), hollow = column("FP64", shape = 0)
  )
}

probe_model <- function() {
  rdv_model(
    score = probe_score,
    inputs = c(list(command = "STRING"), probe_columns()),
    outputs = c(probe_columns(), list(strict = "FP64")),
    name = "probe", task = "conformance probe", int64 = "integer64"
  )
}

probe_score <- function(df) {
  commands <- df$command[!df$command %in% c("", "echo")]
  command <- if (length(commands)) commands[1] else "echo"
  name <- sub(":.*$", "", command)
  argument <- sub("^[^:]*:?", "", command)
  echo <- c(as.list(df)[-1], list(strict = rep(0.5, nrow(df))))
  switch(name,
    echo = echo,
    fail = stop(argument, call. = FALSE),
    error = stop(structure(class = c("severe_error", "error", "condition"), list(message = argument, call = NULL))),
    sleep = {
      Sys.sleep(as.numeric(argument) / 1000)
      echo
    },
    `wrong-rows` = lapply(echo, utils::head, n = nrow(df) - 1L),
    `wrong-type` = replace(echo, "fp64", list(rep("text", nrow(df)))),
    `missing-column` = echo[setdiff(names(echo), "strict")],
    nan = replace(echo, "strict", list(rep(NaN, nrow(df)))),
    hang = repeat NULL,
    crash = tools::pskill(Sys.getpid(), tools::SIGKILL),
    stop("the command ", command, " is unknown", call. = FALSE)
  )
}
