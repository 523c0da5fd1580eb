#' Serve and call models of a Rendezvous
#'
#' Write `score` in R, serve it with [rdv_serve()], call it (or any endpoint) with [rdv_client()] and [rdv_score()], test
#' it without a server in an [rdv_postbox()].
#'
#' @keywords internal
#' @useDynLib rendezvous, .registration = TRUE
#' @importFrom R6 R6Class
#' @importFrom Rcpp evalCpp
#' @importFrom bit64 as.integer64
"_PACKAGE"

.onLoad <- function(libname, pkgname) {
  loaded$pid <- Sys.getpid()
  load_error_facts()
}
