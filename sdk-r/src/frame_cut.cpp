#include "frame.h"
#include "text.h"

namespace rv {

namespace {
std::string described(const v1::Column& column) {
  return quoted(column.name()) + " " + type_name(column.type()) + shown_shape(shape_of(column));
}

bool is_same_kind(const v1::Column& left, const v1::Column& right) {
  return left.name() == right.name() && left.type() == right.type() && shape_of(left) == shape_of(right);
}

v1::Column* add_like(const v1::Column& column, v1::Frame* frame) {
  v1::Column* made = frame->add_columns();
  made->set_name(column.name());
  made->set_type(column.type());
  *made->mutable_shape() = column.shape();
  return made;
}

void check_joinable(const std::vector<const v1::Frame*>& frames) {
  const v1::Frame& first = *frames[0];
  for (size_t index = 1; index < frames.size(); ++index) {
    const v1::Frame& other = *frames[index];
    if (other.columns_size() != first.columns_size()) {
      throw Fault(v1::ERROR_CODE_INVALID_FRAME,
                  "frame " + std::to_string(index) + " has " + std::to_string(other.columns_size()) +
                      " columns, the first has " + std::to_string(first.columns_size()) +
                      ": only frames of the same columns can be joined",
                  {{"frame", std::to_string(index)}});
    }
    for (int c = 0; c < first.columns_size(); ++c) {
      if (is_same_kind(first.columns(c), other.columns(c))) continue;
      throw Fault(v1::ERROR_CODE_INVALID_FRAME,
                  "column " + quoted(first.columns(c).name()) + ": frame " + std::to_string(index) + " has " +
                      described(other.columns(c)) + " in its place, the first frame " + described(first.columns(c)) +
                      ": only frames of the same columns can be joined",
                  {{"column", shown_name(first.columns(c).name())}, {"frame", std::to_string(index)}});
    }
  }
}

// Copies bits [start, stop) of `from` to `to`, beginning at bit `at`.
bool copy_bits(const std::string& from, int64_t start, int64_t stop, std::string* to, int64_t at) {
  bool any = false;
  for (int64_t row = start; row < stop; ++row) {
    if (!bit_of(from, row)) continue;
    set_bit(to, at + row - start);
    any = true;
  }
  return any;
}

void join_column(const std::vector<const v1::Frame*>& frames, int c, int64_t rows, v1::Frame* joined) {
  v1::Column* column = add_like(frames[0]->columns(c), joined);
  size_t bytes = 0;
  bool any_missing = false;
  for (const v1::Frame* frame : frames) {
    bytes += frame->columns(c).values().size();
    any_missing |= !frame->columns(c).missing().empty();
  }
  column->mutable_values()->reserve(bytes);
  for (const v1::Frame* frame : frames) {
    column->mutable_values()->append(frame->columns(c).values());
    column->mutable_strings()->MergeFrom(frame->columns(c).strings());
    column->mutable_blobs()->MergeFrom(frame->columns(c).blobs());
  }
  if (!any_missing) return;
  std::string bitmap(rows / 8 + (rows % 8 != 0), '\0');
  int64_t first = 0;
  bool any = false;
  for (const v1::Frame* frame : frames) {
    any |= copy_bits(frame->columns(c).missing(), 0, frame->rows(), &bitmap, first);
    first += frame->rows();
  }
  if (any) column->set_missing(std::move(bitmap));
}

void slice_column(const v1::Column& column, int64_t start, int64_t stop, v1::Frame* cut) {
  v1::Column* made = add_like(column, cut);
  const int64_t elements = elements_per_row(column), width = width_of(column.type());
  if (width > 0) {
    const int64_t stride = elements * width;
    made->set_values(column.values().substr(start * stride, (stop - start) * stride));
  }
  for (int64_t i = start * elements; i < stop * elements; ++i) {
    if (column.type() == v1::DATA_TYPE_STRING) made->add_strings(column.strings(i));
    if (column.type() == v1::DATA_TYPE_BYTES) made->add_blobs(column.blobs(i));
  }
  if (column.missing().empty() || start == stop) return;
  std::string bitmap((stop - start + 7) / 8, '\0');
  if (copy_bits(column.missing(), start, stop, &bitmap, 0)) made->set_missing(std::move(bitmap));
}
}  // namespace

v1::Frame join_frames(const std::vector<const v1::Frame*>& frames) {
  v1::Frame joined;
  if (frames.empty()) return joined;
  check_joinable(frames);
  int64_t rows = 0;
  for (const v1::Frame* frame : frames) rows += frame->rows();
  joined.set_rows(rows);
  for (int c = 0; c < frames[0]->columns_size(); ++c) join_column(frames, c, rows, &joined);
  return joined;
}

v1::Frame slice_frame(const v1::Frame& frame, int64_t start, int64_t stop) {
  if (start < 0 || start > stop || stop > frame.rows()) {
    throw Fault(v1::ERROR_CODE_INVALID_FRAME, "rows " + std::to_string(start) + " to " + std::to_string(stop) +
                                                  " were asked of a frame of " + std::to_string(frame.rows()) +
                                                  " rows");
  }
  v1::Frame cut;
  cut.set_rows(stop - start);
  for (const auto& column : frame.columns()) slice_column(column, start, stop, &cut);
  return cut;
}

std::vector<v1::Frame> split_frame(const v1::Frame& frame, const std::vector<int64_t>& rows) {
  int64_t sum = 0;
  for (const int64_t count : rows) sum += count;
  if (sum != frame.rows()) {
    throw Fault(v1::ERROR_CODE_INVALID_FRAME, "parts of " + std::to_string(sum) +
                                                  " rows in all were asked of a frame of " +
                                                  std::to_string(frame.rows()) + " rows");
  }
  std::vector<v1::Frame> parts;
  int64_t start = 0;
  for (const int64_t count : rows) {
    parts.push_back(slice_frame(frame, start, start + count));
    start += count;
  }
  return parts;
}

}  // namespace rv
