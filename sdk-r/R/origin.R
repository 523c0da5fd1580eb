# What a process can find out about its model by itself: repository, commit, packages, runtime.

sdk_name <- function() paste("rendezvous-sdk-r", utils::packageVersion("rendezvous"))

# Everything that is said of a model, as a list for the C++ core.
model_info <- function(model, version, find = FALSE) {
  list(
    name = model$name, version = version, runtime = paste0("R ", R.version$major, ".", R.version$minor),
    sdk = sdk_name(), task = model$task, description = model$description, labels = model$labels,
    inputs = model$inputs, outputs = model$outputs, training = model$training,
    int64_as_numeric = model$int64_as_numeric,
    source_control = if (find) find_source_control() else NULL,
    packages = if (find) find_packages() else NULL
  )
}

find_packages <- function() {
  lapply(sort(loadedNamespaces()), function(name) list(name = name, version = getNamespaceVersion(name)[[1]]))
}

# Repository, commit and state of the working tree that holds the running script; NULL outside of git.
find_source_control <- function() {
  git <- Sys.which("git")
  folder <- script_folder()
  if (!nzchar(git) || is.null(folder)) return(NULL)
  commit <- run_git(folder, "rev-parse", "HEAD")
  if (!nzchar(commit)) return(NULL)
  list(
    repository = strip_credentials(run_git(folder, "remote", "get-url", "origin")),
    commit = commit,
    dirty = nzchar(run_git(folder, "status", "--porcelain", "--untracked-files=no"))
  )
}

script_folder <- function() {
  file <- sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))
  if (length(file) == 1 && file.exists(file)) dirname(normalizePath(file)) else NULL
}

run_git <- function(folder, ...) {
  output <- suppressWarnings(system2(
    "git", c("-C", shQuote(folder), ...),
    stdout = TRUE, stderr = FALSE, timeout = 5
  ))
  if (is.null(attr(output, "status"))) paste(output, collapse = "\n") else ""
}

# The address of a repository without user, password, token and query.
strip_credentials <- function(address) {
  address <- sub("[?#].*$", "", trimws(address))
  if (grepl("://", address, fixed = TRUE)) return(sub("^([a-zA-Z][a-zA-Z0-9+.-]*://)[^/@]*@", "\\1", address))
  sub("^[^@/]+@([^:/]+):(.+)$", "\\1:\\2", address)
}
