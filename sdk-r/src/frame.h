// Frames checked, joined and cut; and checked against signatures. No R, no I/O.
// Source: docs/protocol.md, sections "Frames", "Missing values", "Signatures".
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "fault.h"
#include "rendezvous/v1/frame.pb.h"
#include "rendezvous/v1/model.pb.h"

namespace rv {

constexpr int kMaxRank = 8;

using Specs = google::protobuf::RepeatedPtrField<v1::ColumnSpec>;

// Bytes of one element; 0 of STRING and BYTES; -1 of what is no type.
int width_of(int type);
bool is_float(int type);

// `FP64`; of an unknown number, the number as text.
std::string type_name(int type);

// Number of a type given by name (`FP64`); refuses (INVALID_REQUEST) what is no type of *column*.
v1::DataType type_number(const std::string& column, const std::string& name);

std::vector<int64_t> shape_of(const v1::Column& column);

// Product of the dimensions; the largest number there is where it would overflow.
int64_t elements_per_row(const v1::Column& column);

inline bool bit_of(const std::string& bitmap, int64_t row) {
  return !bitmap.empty() && (static_cast<unsigned char>(bitmap[row / 8]) >> (row % 8) & 1);
}
void set_bit(std::string* bitmap, int64_t row);

// Index of the first missing row; -1: none is.
int64_t first_missing(const v1::Column& column);

// Refuses (INVALID_FRAME, attribute `column`) a frame that contradicts itself.
void check_frame(const v1::Frame& frame);

// One frame with the rows of all, in order; refuses (INVALID_FRAME) if their columns differ.
v1::Frame join_frames(const std::vector<const v1::Frame*>& frames);

// Rows *start* to *stop* (not included) of a sound frame.
v1::Frame slice_frame(const v1::Frame& frame, int64_t start, int64_t stop);

// Consecutive parts of a sound frame: one of rows[0] rows, one of rows[1] rows, ...
std::vector<v1::Frame> split_frame(const v1::Frame& frame, const std::vector<int64_t>& rows);

// Refuses (SIGNATURE_MISMATCH) a sound frame that has not exactly these columns; *what* names it in messages.
void check_signature(const v1::Frame& frame, const Specs& specs, const std::string& what);

// The declared columns of a frame in the declared order, the others left out; refuses what is not as declared. Columns
// named in *any_number* may have any type of numbers.
v1::Frame select_inputs(const v1::Frame& frame, const Specs& specs, const std::set<std::string>& any_number = {});

// Where a serialized message has invalid UTF-8, for people; empty if that is not what is wrong with it.
std::string diagnose_bad_utf8(const std::string& raw, const std::string& message_type, std::string* column);

}  // namespace rv
