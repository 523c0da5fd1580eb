# A real nats-server, model programs in processes of their own, and the router's part, played over a bare connection.

nats_server_binary <- function() {
  found <- Sys.getenv("RENDEZVOUS_NATS_SERVER", unname(Sys.which("nats-server")))
  skip_if(!nzchar(found), "no nats-server: set RENDEZVOUS_NATS_SERVER")
  found
}

open_wire <- function(url, ...) unwrap(wire_open(url, security_of(..., plain = TRUE)))

# Calls until it gives something that is true; fails the test after the limit.
wait_until <- function(what, check, limit_s = 15) {
  deadline <- now_s() + limit_s
  repeat {
    value <- tryCatch(check(), error = function(cond) NULL)
    if (!is.null(value) && !identical(value, FALSE)) return(value)
    if (now_s() > deadline) stop("not within ", limit_s, " s: ", what)
    Sys.sleep(0.02)
  }
}

# Starts a program; what it prints, its process id and its exit status are in files of its folder.
start_program <- function(command, environment = character()) {
  folder <- tempfile("program")
  dir.create(folder)
  settings <- c("-u", "LD_LIBRARY_PATH", paste0(names(environment), "=", environment))
  script <- sprintf(
    "cd %s; : >out; : >err; { env %s %s >out 2>err & }; p=$!; echo $p >pid.new; mv pid.new pid; wait $p; echo $? >status.new; mv status.new status",
    shQuote(folder), paste(vapply(settings, shQuote, ""), collapse = " "), paste(vapply(command, shQuote, ""), collapse = " ")
  )
  system2("sh", c("-c", shQuote(script)), wait = FALSE, stdout = FALSE, stderr = FALSE)
  pid <- wait_until("the program's process id", function() {
    file <- file.path(folder, "pid")
    if (file.exists(file)) as.integer(readLines(file))
  })
  list(folder = folder, pid = pid)
}

printed <- function(program, stream = "out") {
  paste(readLines(file.path(program$folder, stream), warn = FALSE), collapse = "\n")
}

exit_status <- function(program, limit_s = 15) {
  file <- file.path(program$folder, "status")
  wait_until("the program's end", function() if (file.exists(file)) as.integer(readLines(file)), limit_s)
}

end_program <- function(program, signal = tools::SIGKILL) {
  if (!file.exists(file.path(program$folder, "status"))) tools::pskill(program$pid, signal)
}

free_port <- function() {
  for (port in sample(20000:30000, 200)) {
    socket <- tryCatch(serverSocket(port), error = function(cond) NULL)
    if (is.null(socket)) next
    close(socket)
    return(port)
  }
  stop("no free port")
}

start_nats <- function(port, store, ...) {
  server <- start_program(c(nats_server_binary(), "-js", "-a", "127.0.0.1", "-p", port, "-sd", store, ...))
  wait_until("nats-server", function() {
    socket <- suppressWarnings(socketConnection("127.0.0.1", port, open = "r", timeout = 1))
    close(socket)
    TRUE
  })
  server
}

# A broker with the streams of endpoint `e`, and one model program of the given score function.
start_site <- function(model_code, ..., env = parent.frame()) {
  site <- new.env()
  site$port <- free_port()
  site$store <- tempfile("store")
  site$nats <- start_nats(site$port, site$store)
  site$url <- paste0("nats://127.0.0.1:", site$port)
  site$wire <- open_wire(site$url)
  wait_until("the connection", function() wire_is_connected(site$wire))
  stream <- function(name, subjects) {
    body <- sprintf('{"name": "%s", "subjects": [%s], "storage": "file"}', name, paste0('"', subjects, '"', collapse = ", "))
    wire_request(site$wire, paste0("$JS.API.STREAM.CREATE.", name), charToRaw(body), 2000)
  }
  stream("RV_e", paste0("rv.e.", c("raw", "raw.*", "input", "decision", "feedback")))
  stream("RV_e_SCORES", "rv.e.score.>")
  wire_subscribe(site$wire, "rv.e.score.*.in-memory")
  site$models <- list()
  withr_defer(stop_site(site), env)
  start_model(site, model_code, ...)
  site
}

# Like on.exit of another function; testthat runs tests in functions of their own.
withr_defer <- function(code, env) do.call(on.exit, list(substitute(code), add = TRUE, after = FALSE), envir = env)

start_model <- function(site, model_code, environment = character()) {
  begin_model(site, model_code, environment)
  await_model(site)
}

# Without waiting for it to be ready.
begin_model <- function(site, model_code, environment = character()) {
  script <- tempfile("model", fileext = ".R")
  writeLines(c("library(rendezvous)", model_code), script)
  environment <- c(RENDEZVOUS_ENDPOINT = "e", RENDEZVOUS_NATS = site$url, R_LIBS = paste(.libPaths(), collapse = ":"), environment)
  site$model <- start_program(c(file.path(R.home("bin"), "Rscript"), script), environment)
  site$models <- c(site$models, list(site$model))
}

await_model <- function(site) {
  program <- site$model
  program$ready <- wait_until("the ready line", function() {
    line <- grep("^ready: ", strsplit(printed(program), "\n")[[1]], value = TRUE)
    if (length(line)) line
  })
  program$address <- sub("^.* grpc ", "", program$ready)
  site$model <- program
  program
}

# Starts R code in a process of its own.
start_code <- function(code, environment = character()) {
  environment <- c(R_LIBS = paste(.libPaths(), collapse = ":"), environment)
  start_program(c(file.path(R.home("bin"), "Rscript"), "-e", code), environment)
}

stop_site <- function(site) {
  for (program in site$models) end_program(program)
  end_program(site$nats, tools::SIGTERM)
  unlink(site$store, recursive = TRUE)
}

# Puts a parcel of these requests into the postbox; gives its id.
send_parcel <- function(site, ..., budget = 60, subject = "rv.e.input") {
  tables <- lapply(list(...), rdv_encode)
  parcel <- unwrap(box_parcel(tables, "e", now_s() * 1e6, budget * 1e6, ""))
  wire_request(site$wire, subject, parcel, 2000)
  box_parcel_facts(parcel)$parcel_id
}

# The score of that parcel.
score_of <- function(site, parcel_id, limit_s = 15) {
  force(parcel_id)
  wait_until(paste("the score of", parcel_id), function() {
    message <- wire_next(site$wire, 200)
    if (is.null(message)) return(NULL)
    score <- unwrap(box_score_parse(message))
    if (score$parcel_id == parcel_id) score
  }, limit_s)
}
