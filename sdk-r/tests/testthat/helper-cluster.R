# Three real nats-servers in a cluster, of which one may be killed and brought back.

start_cluster <- function(env = parent.frame()) {
  cluster <- new.env()
  cluster$ports <- matrix(vapply(1:9, function(i) free_port(), 0L), 3, dimnames = list(NULL, c("client", "route", "monitor")))
  cluster$stores <- vapply(1:3, function(node) tempfile("store"), "")
  cluster$nodes <- vector("list", 3)
  withr_defer(stop_cluster(cluster), env)
  for (node in 1:3) start_node(cluster, node)
  for (node in 1:3) wait_until_healthy(cluster, node)
  cluster$url <- paste0("nats://127.0.0.1:", cluster$ports[, "client"], collapse = ", ")
  cluster$wire <- open_wire(cluster$url)
  wait_until("the connection", function() wire_is_connected(cluster$wire))
  body <- '{"name": "RV_e", "subjects": ["rv.e.input", "rv.e.decision"], "storage": "file", "num_replicas": 3}'
  wait_until("the stream", function() {
    !grepl('"error"', wire_request(cluster$wire, "$JS.API.STREAM.CREATE.RV_e", charToRaw(body), 5000), fixed = TRUE)
  })
  wire_subscribe(cluster$wire, "rv.e.score.*.in-memory")
  cluster$models <- list()
  cluster
}

start_node <- function(cluster, node) {
  ports <- cluster$ports
  routes <- paste0("nats://127.0.0.1:", ports[, "route"])
  cluster$nodes[[node]] <- start_program(c(
    nats_server_binary(), "-js", "-n", paste0("n", node), "-a", "127.0.0.1", "-p", ports[node, "client"],
    "-m", ports[node, "monitor"], "-sd", cluster$stores[node], "--cluster_name", "c", "--cluster", routes[node],
    "--routes", paste(routes, collapse = ",")
  ))
}

wait_until_healthy <- function(cluster, node) {
  wait_until(paste("health of node", node), function() grepl('"ok"', monitored(cluster, node, "healthz"), fixed = TRUE), 30)
}

monitored <- function(cluster, node, page) {
  connection <- url(paste0("http://127.0.0.1:", cluster$ports[node, "monitor"], "/", page))
  on.exit(close(connection))
  paste(suppressWarnings(readLines(connection, warn = FALSE)), collapse = "\n")
}

kill_node <- function(cluster, node) {
  end_program(cluster$nodes[[node]])
  exit_status(cluster$nodes[[node]])
}

stop_cluster <- function(cluster) {
  for (program in c(cluster$models, Filter(Negate(is.null), cluster$nodes))) end_program(program)
  unlink(cluster$stores, recursive = TRUE)
}

# Puts parcels until one of them is answered, which it must be within the limit; gives its score.
scored_again <- function(cluster, value, limit_s = 30) {
  sent <- character()
  wait_until("a score", function() {
    id <- tryCatch(send_parcel(cluster, list(x = value)), error = function(cond) NULL)
    sent <<- c(sent, id)
    message <- wire_next(cluster$wire, 500)
    if (is.null(message)) return(NULL)
    score <- unwrap(box_score_parse(message))
    if (score$parcel_id %in% sent) score
  }, limit_s)
}
