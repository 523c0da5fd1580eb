// Frames to and from R's tables. Called from R's thread only.
#pragma once

#include <Rcpp.h>

#include <map>
#include <string>
#include <vector>

#include "frame.h"

namespace rv {

// How an author wants a column in R beyond what its type says.
struct ColumnHint {
  enum class Time { none, date, posixct } time = Time::none;
  std::vector<std::string> levels;  // not empty: a factor with these levels
};

struct Hints {
  std::map<std::string, ColumnHint> columns;
  std::set<std::string> any_number;  // columns that may have any type of numbers
  // INT64 and UINT64 come as plain numbers where each value is one exactly; else, and without this, as integer64.
  bool int64_as_numeric = false;
};

// A sound frame as a data.frame; throws Fault for what R cannot hold.
SEXP decode_frame(const v1::Frame& frame, const Hints& hints = {});

// Types by column name, where they should not follow from the values.
using WantedTypes = std::map<std::string, v1::DataType>;

// A data.frame or named list of columns as a frame; throws Fault (INVALID_FRAME).
v1::Frame encode_table(SEXP table, const WantedTypes& wanted);

// Adds one column to the frame; returns its rows. Type unspecified: that of the values. Throws Fault.
int64_t encode_column(const std::string& name, SEXP values, v1::DataType wanted, v1::Frame* frame);

// What a model gave for *rows* rows; throws Fault (INVALID_OUTPUT).
v1::Frame encode_output(SEXP output, const Specs& outputs, int64_t rows);

// Text of an R string as UTF-8; throws Fault (INVALID_FRAME) that names the column.
std::string utf8_of(SEXP text, const std::string& column, int64_t element);

// For each element of a row in row-major order, its place in R's column-major order, in units of rows.
std::vector<int64_t> column_major_places(const std::vector<int64_t>& shape);

// Attribute that keeps which rows of a column without elements are missing.
constexpr const char* kMissingAttribute = "rdv_missing";

}  // namespace rv
