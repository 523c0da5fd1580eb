#' A postbox in memory
#'
#' A model is tested without a server, by the code that serves it: joining, splitting at a bad row, expiry, redelivery.
#' Its clock stands still until it is advanced.
#'
#' @param model An [rdv_model()], or a function of one table. Its `setup` is called at once.
#' @param endpoint Name of the endpoint.
#' @param name Name of the model. Default: the model's own.
#' @param version Version of the model.
#' @return An R6 object with the methods
#'
#' - `score(df)`: sends one request in a parcel; gives its answer as [rdv_score()] does.
#' - `parcel(..., budget = 1, traceparent = "")`: a parcel of one request for each table, sealed now; `budget`: seconds
#'   to their deadline.
#' - `deliver(parcel, ...)`: delivers parcels as if they had waited together; gives the score of the first, a list with
#'   `items` (each `request_id`, `rows`, `error`), `outputs` (data.frame or NULL), `delivery`, ... A parcel that is
#'   delivered again counts as redelivered.
#' - `deliver_together(parcel, ...)`: the same, all scores in a list.
#' - `advance(seconds)`: moves the clock.
#' - `close()`: calls the model's `close`.
#' @section Errors:
#' `rendezvous_invalid_request`: something that is no model, or a malformed name.\cr
#' `$score()`: the leaf condition of whatever went wrong.
#' @examples
#' box <- rdv_postbox(function(df) data.frame(twice = df$x * 2))
#' box$score(data.frame(x = c(1, NA)))
#'
#' parcel <- box$parcel(data.frame(x = 1), data.frame(x = 2), budget = 0.1)
#' box$advance(0.2)
#' conditionMessage(box$deliver(parcel)$items[[1]]$error)
#' @export
rdv_postbox <- function(model, endpoint = "test", name = NULL, version = "1") {
  Postbox$new(as_model(model), endpoint, name, version)
}

start_unix_us <- 1700000000000000

Postbox <- R6Class("rdv_postbox",
  cloneable = FALSE,
  public = list(
    initialize = function(model, endpoint, name, version) {
      private$model <- model
      private$endpoint <- endpoint
      identity <- list(endpoint = endpoint, name = if (is.null(name)) model$name else name, version = version)
      private$box <- unwrap(box_make(model_info(model, version), evaluator(model), identity))
      private$deliveries <- new.env(parent = emptyenv())
      if (!is.null(model$setup)) model$setup()
    },
    score = function(df) {
      score <- self$deliver(self$parcel(df))
      item <- score$items[[1]]
      if (!is.null(item$error)) stop(item$error)
      as_answer(score$outputs, list(
        request_id = item$request_id, model = score$model, version = score$version, timing = score$timing
      ))
    },
    parcel = function(..., budget = 1, traceparent = "") {
      tables <- lapply(list(...), function(df) rdv_encode(df, declared_types(private$model$inputs, df)))
      unwrap(box_parcel(tables, private$endpoint, private$now_unix_us, round(budget * 1e6), traceparent))
    },
    deliver = function(...) self$deliver_together(...)[[1]],
    deliver_together = function(...) {
      deliveries <- lapply(list(...), private$delivery)
      scores <- unwrap(without_quit(box_deliver(private$box, deliveries, private$now_unix_us)))
      lapply(scores, function(score) {
        score$items <- lapply(score$items, function(item) {
          if (!is.null(item$error)) item$error <- condition_of(item$error)
          item
        })
        score
      })
    },
    advance = function(seconds) private$now_unix_us <- private$now_unix_us + round(seconds * 1e6),
    close = function() if (!is.null(private$model$close)) private$model$close()
  ),
  private = list(
    model = NULL, endpoint = NULL, box = NULL, deliveries = NULL, sequence = 0, now_unix_us = start_unix_us,
    delivery = function(parcel) {
      facts <- box_parcel_facts(parcel)
      number <- c(private$deliveries[[facts$parcel_id]], 0)[1] + 1
      assign(facts$parcel_id, number, envir = private$deliveries)
      private$sequence <- private$sequence + 1
      list(
        parcel = parcel, sequence = private$sequence, number = number,
        age_us = private$now_unix_us - facts$sealed_unix_us
      )
    }
  )
)
