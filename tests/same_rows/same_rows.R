# Asks for the rows of a file, unary, streamed, as a table, and prints the answers (tests/test_same_rows.py).
library(rendezvous)

piece <- 64L
arguments <- commandArgs(TRUE)

octets <- function(hex) {
  starts <- seq_len(nchar(hex) / 2) * 2 - 1
  as.raw(strtoi(substring(rep(hex, length(starts)), starts, starts + 1), 16L))
}
hex_of <- function(text) paste(format(charToRaw(enc2utf8(text))), collapse = "")
text_of <- function(hex) {
  text <- rawToChar(octets(hex))
  Encoding(text) <- "UTF-8"
  text
}

# A line a column: its name, type, elements in a row, and a cell a row.
column_of <- function(line) {
  cells <- line[-(1:3)]
  cells[cells == "NA"] <- NA
  elements <- as.integer(line[3])
  if (elements > 1) {
    rows <- lapply(strsplit(cells, ",", fixed = TRUE), function(cell) if (is.na(cell[1])) rep(NA_real_, elements) else as.numeric(cell))
    return(do.call(rbind, rows))
  }
  switch(line[2],
    BOOL = as.logical(as.integer(cells)),
    INT64 = , UINT64 = bit64::as.integer64(cells),
    STRING = vapply(cells, function(cell) if (is.na(cell)) NA_character_ else text_of(cell), "", USE.NAMES = FALSE),
    BYTES = lapply(cells, function(cell) if (is.na(cell)) NULL else octets(cell)),
    as.numeric(cells)
  )
}

show <- function(way, answer) {
  echo <- vapply(answer$echo, function(text) if (is.na(text)) "NA" else hex_of(text), "", USE.NAMES = FALSE)
  back <- ifelse(is.na(answer$back) & !is.nan(answer$back), "NA", sprintf("%a", answer$back))
  cat(paste(way, as.character(answer$hash), sprintf("%a", answer$ratio), echo, back, sep = "\t"), sep = "\n")
}

lines <- strsplit(readLines(arguments[3], encoding = "UTF-8"), "\t", fixed = TRUE)
table <- stats::setNames(lapply(lines, column_of), vapply(lines, `[`, "", 1))
rows <- length(table[[1]])
part <- function(from, to) lapply(table, function(column) if (is.matrix(column)) column[from:to, , drop = FALSE] else column[from:to])

client <- rdv_client(arguments[1], endpoint = arguments[2], int64 = "integer64")
show("score", rdv_score(client, table))
starts <- seq(1L, rows, piece)
for (answer in rdv_stream(client, lapply(starts, function(from) part(from, min(from + piece - 1L, rows))))) show("stream", answer)
frame <- structure(table, class = "data.frame", row.names = seq_len(rows)) # with a matrix and a list as they are
show("table", rdv_score_table(client, frame, chunk_rows = piece, progress = FALSE))
