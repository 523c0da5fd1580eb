#include <algorithm>
#include <limits>
#include <unordered_set>

#include "frame.h"
#include "text.h"

namespace rv {

namespace {
struct TypeFacts {
  const char* name;
  int width;
};

// By number.
constexpr TypeFacts kTypes[] = {{"", -1},      {"BOOL", 1},  {"UINT8", 1}, {"UINT16", 2}, {"UINT32", 4},
                                {"UINT64", 8}, {"INT8", 1},  {"INT16", 2}, {"INT32", 4},  {"INT64", 8},
                                {"FP16", 2},   {"FP32", 4},  {"FP64", 8},  {"BYTES", 0},  {"STRING", 0}};
constexpr int kTypeCount = sizeof kTypes / sizeof kTypes[0];

std::string number(int64_t value) { return std::to_string(value); }

[[noreturn]] void refuse(const v1::Column& column, const std::string& message, Attributes attributes = {}) {
  Fault fault(v1::ERROR_CODE_INVALID_FRAME, "column " + quoted(column.name()) + ": " + message, attributes);
  v1::Error error = fault.error();
  (*error.mutable_attributes())["column"] = shown_name(column.name());
  throw Fault(error);
}

[[noreturn]] void refuse_carrier(const v1::Column& column, const char* carrier, const char* other, int64_t actual) {
  const std::string unit = std::string(other) == "values" ? " bytes" : " elements";
  refuse(column,
         "type " + type_name(column.type()) + " is carried in `" + carrier + "`, but `" + other + "` has " +
             number(actual) + unit,
         {{"carrier", carrier}, {"actual", number(actual)}});
}

void check_count(const v1::Column& column, int64_t rows, const char* carrier, int64_t actual, int64_t expected) {
  if (actual == expected) return;
  const int width = width_of(column.type());
  const std::string unit = width ? " bytes" : " elements";
  const std::string each = width ? " of " + number(width) + " bytes" : "";
  refuse(column,
         "`" + std::string(carrier) + "` has " + number(actual) + unit + ": " + number(rows) + " rows of shape " +
             shown_shape(shape_of(column)) + ", type " + type_name(column.type()) + each + ", need " +
             number(expected) + unit,
         {{"expected", number(expected)}, {"actual", number(actual)}});
}

int64_t times(int64_t left, int64_t right) {
  int64_t product;
  if (__builtin_mul_overflow(left, right, &product)) return std::numeric_limits<int64_t>::max();
  return product;
}

void check_shape(const v1::Column& column) {
  if (column.shape_size() > kMaxRank) {
    refuse(column, "shape has " + number(column.shape_size()) + " dimensions: at most 8 are allowed",
           {{"limit", number(kMaxRank)}, {"actual", number(column.shape_size())}});
  }
  if (std::any_of(column.shape().begin(), column.shape().end(), [](int64_t d) { return d < 0; })) {
    refuse(column, "shape " + shown_shape(shape_of(column)) + " has a negative dimension",
           {{"shape", shown_shape(shape_of(column))}});
  }
}

void check_payload(const v1::Column& column, int64_t rows, int64_t elements, int width) {
  const bool is_string = column.type() == v1::DATA_TYPE_STRING, is_bytes = column.type() == v1::DATA_TYPE_BYTES;
  const char* carrier = is_string ? "strings" : is_bytes ? "blobs" : "values";
  if (width == 0 && !column.values().empty()) refuse_carrier(column, carrier, "values", column.values().size());
  if (!is_string && column.strings_size()) refuse_carrier(column, carrier, "strings", column.strings_size());
  if (!is_bytes && column.blobs_size()) refuse_carrier(column, carrier, "blobs", column.blobs_size());
  if (is_string) return check_count(column, rows, carrier, column.strings_size(), elements);
  if (is_bytes) return check_count(column, rows, carrier, column.blobs_size(), elements);
  check_count(column, rows, carrier, column.values().size(), times(elements, width));
}

void check_bool(const v1::Column& column) {
  const auto& values = column.values();
  const auto bad = std::find_if(values.begin(), values.end(), [](char c) { return static_cast<unsigned char>(c) > 1; });
  if (bad == values.end()) return;
  const int64_t index = bad - values.begin();
  refuse(column,
         "BOOL element " + number(index) + " is the byte " + number(static_cast<unsigned char>(*bad)) +
             ": it must be 0 or 1",
         {{"element", number(index)}});
}

void check_bitmap(const v1::Column& column, int64_t rows) {
  const auto& missing = column.missing();
  if (missing.empty()) return;
  const int64_t expected = rows / 8 + (rows % 8 != 0), actual = missing.size();
  if (actual != expected) {
    refuse(column, "missing bitmap has " + number(actual) + " bytes: " + number(rows) + " rows need " + number(expected),
           {{"expected", number(expected)}, {"actual", number(actual)}});
  }
  if (rows % 8 && static_cast<unsigned char>(missing.back()) >> (rows % 8)) {
    refuse(column, "missing bitmap has bits set beyond row " + number(rows - 1) + ": spare bits must be 0",
           {{"actual", number(static_cast<unsigned char>(missing.back()))}});
  }
}

void check_column(const v1::Column& column, int64_t rows) {
  const int width = width_of(column.type());
  if (width < 0) refuse(column, "type " + number(column.type()) + " is unknown", {{"type", number(column.type())}});
  check_shape(column);
  check_payload(column, rows, times(rows, elements_per_row(column)), width);
  if (column.type() == v1::DATA_TYPE_BOOL) check_bool(column);
  check_bitmap(column, rows);
}
}  // namespace

int width_of(int type) { return type > 0 && type < kTypeCount ? kTypes[type].width : -1; }

bool is_float(int type) { return type >= v1::DATA_TYPE_FP16 && type <= v1::DATA_TYPE_FP64; }

std::string type_name(int type) { return width_of(type) < 0 ? number(type) : kTypes[type].name; }

v1::DataType type_number(const std::string& column, const std::string& name) {
  std::vector<std::string> names;
  for (int type = 1; type < kTypeCount; ++type) {
    if (name == kTypes[type].name) return static_cast<v1::DataType>(type);
    names.push_back(kTypes[type].name);
  }
  throw Fault(v1::ERROR_CODE_INVALID_REQUEST,
              "column " + quoted(column) + " has the type " + quoted(name) + "; use one of " + listed(names),
              {{"column", shown_name(column)}, {"type", shown_name(name)}});
}

std::vector<int64_t> shape_of(const v1::Column& column) { return {column.shape().begin(), column.shape().end()}; }

int64_t elements_per_row(const v1::Column& column) {
  const auto& shape = column.shape();
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  int64_t product = 1;
  for (const int64_t dimension : shape) product = times(product, dimension);
  return product;
}

void set_bit(std::string* bitmap, int64_t row) {
  (*bitmap)[row / 8] = static_cast<char>(static_cast<unsigned char>((*bitmap)[row / 8]) | 1U << (row % 8));
}

int64_t first_missing(const v1::Column& column) {
  const auto& missing = column.missing();
  for (size_t octet = 0; octet < missing.size(); ++octet) {
    if (missing[octet]) return static_cast<int64_t>(octet) * 8 + __builtin_ctz(static_cast<unsigned char>(missing[octet]));
  }
  return -1;
}

void check_frame(const v1::Frame& frame) {
  const int64_t rows = frame.rows();
  if (rows < 0) {
    throw Fault(v1::ERROR_CODE_INVALID_FRAME, "rows is " + number(rows) + ": it must not be negative",
                {{"rows", number(rows)}});
  }
  std::unordered_set<std::string> seen;
  for (int index = 0; index < frame.columns_size(); ++index) {
    const auto& column = frame.columns(index);
    if (column.name().empty()) {
      throw Fault(v1::ERROR_CODE_INVALID_FRAME, "column " + number(index) + " has no name: name it",
                  {{"column", ""}, {"index", number(index)}});
    }
    if (!seen.insert(column.name()).second) {
      throw Fault(v1::ERROR_CODE_INVALID_FRAME,
                  "column " + quoted(column.name()) + " (number " + number(index) +
                      ") is there twice: names must be unique",
                  {{"column", shown_name(column.name())}, {"index", number(index)}});
    }
    check_column(column, rows);
  }
}

}  // namespace rv
