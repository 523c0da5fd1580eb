// Whole tables: what a client sends, and what a model gives.

#include <unordered_set>

#include "r_frame.h"
#include "r_tried.h"
#include "r_values.h"
#include "text.h"

namespace rv {

namespace {
struct NamedColumn {
  std::string name;
  SEXP values;
};

std::vector<NamedColumn> columns_of(SEXP table) {
  if (TYPEOF(table) != VECSXP) {
    throw Fault(v1::ERROR_CODE_INVALID_FRAME, std::string("a value of type ") + Rf_type2char(TYPEOF(table)) +
                                                  " is no table: give a data.frame or a named list of columns");
  }
  const Rcpp::Shield<SEXP> names(Rf_getAttrib(table, R_NamesSymbol));
  std::vector<NamedColumn> columns;
  std::unordered_set<std::string> seen;
  for (R_xlen_t i = 0; i < Rf_xlength(table); ++i) {
    const bool is_named = !Rf_isNull(names) && STRING_ELT(names, i) != NA_STRING;
    const std::string name = is_named ? utf8_of(STRING_ELT(names, i), "name", i) : "";
    if (name.empty() || !seen.insert(name).second) {
      throw Fault(v1::ERROR_CODE_INVALID_FRAME,
                  "column number " + std::to_string(i + 1) + ": its name, " + quoted(name) + ", " +
                      (name.empty() ? "must not be empty" : "is there twice"),
                  {{"column", shown_name(name)}, {"index", std::to_string(i)}});
    }
    columns.push_back({name, VECTOR_ELT(table, i)});
  }
  return columns;
}

v1::DataType wanted_type(const WantedTypes& wanted, const std::string& name) {
  const auto found = wanted.find(name);
  return found == wanted.end() ? v1::DATA_TYPE_UNSPECIFIED : found->second;
}

int64_t rows_of_data_frame(SEXP table) {
  const Rcpp::Shield<SEXP> names(Rf_getAttrib(table, R_RowNamesSymbol));
  return Rf_xlength(names);
}

[[noreturn]] void refuse_output(const std::string& message, Attributes attributes = {}) {
  throw Fault(v1::ERROR_CODE_INVALID_OUTPUT, message, attributes);
}

// Columns of a vector or matrix, which gets the declared names.
std::vector<NamedColumn> declared_columns(SEXP output, const Specs& outputs, int64_t rows) {
  if (outputs.empty()) {
    refuse_output("the model gave a vector and declares no output names: declare them, as in "
                  "rdv_model(outputs = c(probability = \"FP64\")), or give a data.frame");
  }
  const Rcpp::Shield<SEXP> dims(Rf_getAttrib(output, R_DimSymbol));
  const bool is_matrix = Rf_xlength(dims) == 2;
  if (outputs.size() == 1 && !(is_matrix && outputs[0].shape().empty())) return {{outputs[0].name(), output}};
  const int64_t actual_rows = is_matrix ? INTEGER(dims)[0] : Rf_xlength(output);
  const int64_t actual_columns = is_matrix ? INTEGER(dims)[1] : 1;
  if (actual_rows != rows || actual_columns != outputs.size()) {
    refuse_output("the model gave a matrix of " + std::to_string(actual_rows) + " rows and " +
                      std::to_string(actual_columns) + " columns: it must have " + std::to_string(rows) + " rows and " +
                      std::to_string(outputs.size()) + " columns, one for each declared output",
                  {{"expected", std::to_string(rows)}, {"actual", std::to_string(actual_rows)}});
  }
  if (TYPEOF(output) != REALSXP) refuse_output("the model gave a matrix that is not numeric: give a data.frame");
  std::vector<NamedColumn> columns;
  for (int c = 0; c < outputs.size(); ++c) {
    Rcpp::NumericVector column(REAL(output) + c * rows, REAL(output) + (c + 1) * rows);
    R_PreserveObject(column);  // released by the caller, after it was encoded
    columns.push_back({outputs[c].name(), column});
  }
  return columns;
}

void check_rows(const std::string& name, int64_t actual, int64_t rows) {
  if (actual == rows) return;
  refuse_output("output column " + quoted(name) + " has " + std::to_string(actual) + " values for " +
                    std::to_string(rows) + " rows: it must have one for each",
                {{"column", shown_name(name)}, {"expected", std::to_string(rows)}, {"actual", std::to_string(actual)}});
}

void check_declared(const v1::Frame& frame, const Specs& outputs) {
  Specs specs = outputs;
  for (auto& spec : specs) {
    if (spec.type() != v1::DATA_TYPE_UNSPECIFIED) continue;
    // Where only the name was declared, whatever was given is right.
    for (const auto& column : frame.columns()) {
      if (column.name() != spec.name()) continue;
      spec.set_type(column.type());
      *spec.mutable_shape() = column.shape();
    }
    spec.set_allow_missing(true);
    spec.set_allow_nan(true);
  }
  try {
    check_signature(frame, specs, "output of the model");
  } catch (const Fault& fault) {
    v1::Error error = fault.error();
    error.set_code(v1::ERROR_CODE_INVALID_OUTPUT);
    throw Fault(error);
  }
}

class Preserved {
 public:
  explicit Preserved(const std::vector<NamedColumn>& columns, SEXP owner) : columns_(columns), owner_(owner) {}
  ~Preserved() {
    if (TYPEOF(owner_) == VECSXP) return;
    for (const auto& column : columns_) {
      if (column.values != owner_) R_ReleaseObject(column.values);
    }
  }

 private:
  const std::vector<NamedColumn>& columns_;
  SEXP owner_;
};
}  // namespace

namespace {
// Runs *encode*, which tells the column that it is at; an R error is the fault of that column's values.
void with_r_errors_refused(const std::function<void(std::string*)>& encode) {
  std::string column;
  try {
    tried([&]() -> SEXP {
      encode(&column);
      return R_NilValue;
    });
  } catch (const RError& error) {
    refuse_column(column, std::string("R cannot read its values: ") + error.what());
  }
}

void encode_columns(SEXP table, const WantedTypes& wanted, v1::Frame* made, std::string* at) {
  v1::Frame& frame = *made;
  const auto columns = columns_of(table);
  if (Rf_inherits(table, "data.frame")) frame.set_rows(rows_of_data_frame(table));
  for (const auto& [name, values] : columns) {
    *at = name;
    const int64_t rows = encode_column(name, values, wanted_type(wanted, name), &frame);
    if (frame.columns_size() == 1) frame.set_rows(rows);
    if (rows == frame.rows()) continue;
    refuse_column(name, "has " + std::to_string(rows) + " rows, column " + quoted(columns[0].name) + " has " +
                            std::to_string(frame.rows()) + ": all must have the same",
                  {{"expected", std::to_string(frame.rows())}, {"actual", std::to_string(rows)}});
  }
}

void encode_outputs(SEXP output, const Specs& outputs, v1::Frame* frame, std::string* at) {
  const int64_t rows = frame->rows();
  const auto columns = TYPEOF(output) == VECSXP ? columns_of(output) : declared_columns(output, outputs, rows);
  const Preserved preserved(columns, output);
  if (columns.empty()) refuse_output("the model gave no columns: it must give at least one");
  for (const auto& [name, values] : columns) {
    *at = name;
    v1::DataType wanted = v1::DATA_TYPE_UNSPECIFIED;
    for (const auto& spec : outputs) {
      if (spec.name() == name) wanted = spec.type();
    }
    check_rows(name, encode_column(name, values, wanted, frame), rows);
  }
}
}  // namespace

v1::Frame encode_table(SEXP table, const WantedTypes& wanted) {
  v1::Frame frame;
  with_r_errors_refused([&](std::string* at) { encode_columns(table, wanted, &frame, at); });
  return frame;
}

v1::Frame encode_output(SEXP output, const Specs& outputs, int64_t rows) {
  v1::Frame frame;
  frame.set_rows(rows);
  try {
    with_r_errors_refused([&](std::string* at) { encode_outputs(output, outputs, &frame, at); });
  } catch (const Fault& fault) {
    if (fault.code() == v1::ERROR_CODE_INVALID_OUTPUT) throw;
    v1::Error error = fault.error();
    error.set_code(v1::ERROR_CODE_INVALID_OUTPUT);
    error.set_message("output of the model: " + error.message());
    throw Fault(error);
  }
  check_declared(frame, outputs);
  return frame;
}

}  // namespace rv
