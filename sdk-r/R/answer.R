#' What is known of an answer beyond its rows
#'
#' @param x What [rdv_score()], [rdv_stream()], [rdv_score_table()] or an [rdv_postbox()] gave.
#' @return A list: `request_id`, `model` (empty where the policy's `otherwise` answered), `version`, `timing`,
#'   `decision` (list or NULL: how a router chose the answer), `scores` (with `explain`: every model's score by name, each
#'   a list of `version`, `outputs`, `error`), `traceparent`, `trace_id` (of the trace that it belongs to; empty: of none).
#'   Of what [rdv_score_table()] gave: a list with `chunks`. NULL for anything else.
#' @examples
#' box <- rdv_postbox(function(df) data.frame(twice = df$x * 2))
#' rdv_answer(box$score(data.frame(x = 1)))$model
#' @export
rdv_answer <- function(x) attr(x, "rdv_answer", exact = TRUE)

as_answer <- function(outputs, facts) {
  attr(outputs, "rdv_answer") <- facts
  outputs
}
