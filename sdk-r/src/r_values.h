// One column of an R table, whatever its class, element by element. Called from R's thread only.
#pragma once

#include <Rcpp.h>

#include <string>
#include <vector>

#include "fault.h"
#include "rendezvous/v1/frame.pb.h"

namespace rv {

// Throws INVALID_FRAME that names the column.
[[noreturn]] void refuse_column(const std::string& name, const std::string& message, Attributes attributes = {});

struct Number {
  bool is_whole;
  int64_t whole;
  double real;
};

// A view of an R vector, matrix or array of one row a row.
class Values {
 public:
  enum class Kind { logical, integer, real, integer64, date, posixct, text, factor, raw, raws };

  // Throws Fault (INVALID_FRAME) for what is no column.
  Values(const std::string& name, SEXP source);

  const std::string& name;
  SEXP source;
  Kind kind;
  int64_t rows;
  int64_t elements;
  std::vector<int64_t> shape;

  R_xlen_t place(int64_t row, int64_t element) const { return row + rows * places_[element]; }
  v1::DataType natural_type() const;
  bool is_number() const { return kind != Kind::text && kind != Kind::factor && kind != Kind::raws; }
  bool is_all_na_logical() const;
  bool is_missing(R_xlen_t place) const;
  // Of a column without elements, which has no NA to say so.
  bool is_marked_missing(int64_t row) const;
  // What there is, for a message: `integer values`.
  const char* described() const;

  Number number_at(R_xlen_t place) const;
  SEXP text_at(R_xlen_t place) const;
  std::string blob_at(R_xlen_t place) const;

 private:
  void set_shape();
  void check_raws() const;
  double real_at(R_xlen_t place) const;

  std::vector<int64_t> places_;
  SEXP marks_;
};

}  // namespace rv
