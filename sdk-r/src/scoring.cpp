#include "scoring.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>

#include "text.h"

namespace rv {

namespace {
constexpr int64_t kSplittingLimitUs = 5'000'000;

__int128 rows_of_items(const v1::Parcel& parcel) {
  __int128 rows = 0;
  for (const auto& item : parcel.items()) rows += item.rows();
  return rows;
}

std::string ms(int64_t us) { return shown(std::round(static_cast<double>(us) / 1000)); }

Fault expired(int64_t budget_us, int64_t age_us) {
  return Fault(v1::ERROR_CODE_EXPIRED,
               "the request's " + ms(budget_us) + " ms had passed when the model received it, " + ms(age_us) +
                   " ms after it was accepted",
               {{"budget_us", std::to_string(budget_us)}, {"age_us", std::to_string(age_us)}});
}
}  // namespace

bool has_rows_of_items(const v1::Parcel& parcel) {
  for (const auto& item : parcel.items()) {
    if (item.rows() < 1) return false;
  }
  return parcel.items_size() > 0 && rows_of_items(parcel) == parcel.inputs().rows();
}

bool is_expired(int64_t stored_unix_us, int64_t budget_us, int64_t broker_now_unix_us) {
  int64_t due;
  if (__builtin_add_overflow(stored_unix_us, budget_us, &due)) return budget_us < 0;
  return broker_now_unix_us >= due;
}

// Scores of a run of items: rows of items `start` to `stop` in one frame, or the error of all of them.
struct ParcelScorer::Outcome {
  size_t start;
  size_t stop;
  std::shared_ptr<const v1::Frame> outputs;
  std::shared_ptr<const Fault> error;
};

// One parcel on its way to a score: which items are scored, and what came of them.
struct ParcelScorer::Work {
  explicit Work(const Delivery& given) : delivery(given) {
    for (const auto& item : delivery.parcel.items()) rows.push_back(item.rows());
  }

  const Delivery& delivery;
  std::vector<int64_t> rows;
  std::map<size_t, v1::Error> errors;
  std::vector<size_t> live;
  std::vector<int64_t> live_rows;
  std::vector<Outcome> outcomes;

  void refuse_all(const v1::Error& error) {
    for (size_t i = 0; i < rows.size(); ++i) errors.emplace(i, error);
  }

  void drop_expired() {
    for (size_t i = 0; i < rows.size(); ++i) {
      const int64_t budget_us = delivery.parcel.items(static_cast<int>(i)).budget_us();
      if (is_expired(0, budget_us, delivery.age_us)) {
        errors.emplace(i, expired(budget_us, delivery.age_us).error());
      } else {
        live.push_back(i);
        live_rows.push_back(rows[i]);
      }
    }
  }

  // Appends the names of the live items.
  void name_into(std::vector<RequestName>* names) const {
    for (const size_t index : live) {
      const auto& item = delivery.parcel.items(static_cast<int>(index));
      names->push_back({item.request_id(), delivery.parcel.parcel_id(), item.traceparent()});
    }
  }

  // Rows of the live items: the parcel's own frame where all live.
  const v1::Frame& table() {
    if (errors.empty()) return delivery.parcel.inputs();
    const auto parts = split_frame(delivery.parcel.inputs(), rows);
    std::vector<const v1::Frame*> chosen;
    for (const size_t index : live) chosen.push_back(&parts[index]);
    live_table = join_frames(chosen);
    return live_table;
  }

  // The outputs of all outcomes, joined; nothing if there are none.
  std::optional<v1::Frame> join_outputs() {
    std::vector<const v1::Frame*> frames;
    for (const auto& outcome : outcomes) {
      if (outcome.outputs) frames.push_back(outcome.outputs.get());
      if (!outcome.error) continue;
      for (size_t i = outcome.start; i < outcome.stop; ++i) errors.emplace(live[i], outcome.error->error());
    }
    if (frames.empty()) return std::nullopt;
    if (frames.size() == 1) return *frames[0];
    try {
      return join_frames(frames);
    } catch (const Fault& fault) {
      const Fault refusal(v1::ERROR_CODE_INVALID_OUTPUT,
                          "the model gave different columns for parts of one parcel: " + fault.error().message() +
                              "; declare its output types");
      for (const size_t index : live) errors.emplace(index, refusal.error());
      return std::nullopt;
    }
  }

 private:
  v1::Frame live_table;
};

std::vector<v1::ParcelScore> ParcelScorer::score_parcels(const std::vector<const Delivery*>& deliveries) {
  const int64_t started = clock_();
  std::vector<std::unique_ptr<Work>> works;
  std::vector<Work*> live;
  for (const Delivery* delivery : deliveries) {
    works.push_back(std::make_unique<Work>(*delivery));
    admit(works.back().get());
    if (!works.back()->live.empty()) live.push_back(works.back().get());
  }
  if (!live.empty()) score_together(std::move(live));
  const int64_t finished = clock_();
  std::vector<v1::ParcelScore> scores;
  for (const auto& work : works) scores.push_back(reply(work.get(), started, finished));
  return scores;
}

v1::Frame ParcelScorer::score_request(const v1::Frame& frame, const RequestName& name) {
  check_frame(frame);
  check_rows(frame);
  const Outcome outcome = attempt(frame, 0, 1, name);
  if (outcome.error) throw *outcome.error;
  return *outcome.outputs;
}

void ParcelScorer::check_rows(const v1::Frame& frame) const {
  if (frame.rows() <= max_rows) return;
  throw Fault(v1::ERROR_CODE_TOO_LARGE,
              "the table has " + std::to_string(frame.rows()) + " rows; the limit is " + std::to_string(max_rows) +
                  ": send fewer rows a request",
              {{"actual", std::to_string(frame.rows())}, {"limit", std::to_string(max_rows)}});
}

void ParcelScorer::admit(Work* work) {
  try {
    check_parcel(work->delivery);
    work->drop_expired();
  } catch (const Fault& fault) {
    work->refuse_all(fault.error());
  }
}

void ParcelScorer::check_parcel(const Delivery& delivery) const {
  if (delivery.number >= kMaxDeliver) {
    throw Fault(v1::ERROR_CODE_MODEL_FAILED,
                "delivered " + std::to_string(delivery.number) +
                    " times without an answer, so it is not tried again: the model's process ended or hung on it",
                {{"deliveries", std::to_string(delivery.number)}, {"limit", std::to_string(kMaxDeliver)}});
  }
  const auto& inputs = delivery.parcel.inputs();
  if (!has_rows_of_items(delivery.parcel)) {
    const __int128 rows = rows_of_items(delivery.parcel);
    throw Fault(v1::ERROR_CODE_INVALID_FRAME,
                "the parcel's items have " + std::to_string(static_cast<int64_t>(rows)) +
                    " rows in all, its frame has " + std::to_string(inputs.rows()) +
                    ": they must be the same, and each item must have one at least",
                {{"expected", std::to_string(static_cast<int64_t>(rows))}, {"actual", std::to_string(inputs.rows())}});
  }
  check_frame(inputs);  // also because a malformed one would shift the rows of those it is joined with
  check_rows(inputs);
}

namespace {
using OutcomeRows = std::vector<int64_t>;

int64_t sum_of(const OutcomeRows& counts, size_t from, size_t to) {
  int64_t sum = 0;
  for (size_t i = from; i < to; ++i) sum += counts[i];
  return sum;
}
}  // namespace

void ParcelScorer::score_together(std::vector<Work*> works) {
  if (works.size() == 1) return score_alone(works[0]);
  std::vector<const v1::Frame*> tables;
  std::vector<int64_t> counts;
  std::vector<RequestName> names;
  for (Work* work : works) {
    tables.push_back(&work->table());
    work->name_into(&names);
    counts.insert(counts.end(), work->live_rows.begin(), work->live_rows.end());
  }
  v1::Frame table;
  try {
    table = join_frames(tables);
  } catch (const Fault&) {
    // A specification changed between them: each for itself.
    for (Work* work : works) score_alone(work);
    return;
  }
  const auto outcomes = score_items(table, counts, names);
  size_t first = 0;
  for (Work* work : works) {
    const size_t last = first + work->live.size();
    for (const auto& outcome : outcomes) {
      const size_t start = std::max(outcome.start, first), stop = std::min(outcome.stop, last);
      if (start >= stop) continue;
      auto outputs = outcome.outputs;
      if (outputs && (start != outcome.start || stop != outcome.stop)) {
        const int64_t before = sum_of(counts, outcome.start, start);
        outputs = std::make_shared<v1::Frame>(
            slice_frame(*outcome.outputs, before, before + sum_of(counts, start, stop)));
      }
      work->outcomes.push_back({start - first, stop - first, outputs, outcome.error});
    }
    first = last;
  }
}

void ParcelScorer::score_alone(Work* work) {
  std::vector<RequestName> names;
  work->name_into(&names);
  work->outcomes = score_items(work->table(), work->live_rows, names);
}

std::vector<ParcelScorer::Outcome> ParcelScorer::score_items(const v1::Frame& table,
                                                             const std::vector<int64_t>& counts,
                                                             const std::vector<RequestName>& names) {
  std::vector<int64_t> bounds{0};
  for (const int64_t rows : counts) bounds.push_back(bounds.back() + rows);
  std::vector<Outcome> outcomes;
  std::vector<std::pair<size_t, size_t>> waiting{{0, counts.size()}};
  int64_t failed_at = -1;
  while (!waiting.empty()) {
    const auto [start, stop] = waiting.back();
    waiting.pop_back();
    const bool is_whole = stop - start == counts.size();
    const Outcome outcome =
        is_whole ? attempt(table, start, stop, names[start])
                 : attempt(slice_frame(table, bounds[start], bounds[stop]), start, stop, names[start]);
    if (outcome.error && failed_at < 0) failed_at = monotonic_us();
    const bool is_settled = !outcome.error || stop - start == 1 || outcome.error->code() == v1::ERROR_CODE_INVALID_FRAME ||
                            monotonic_us() - failed_at > kSplittingLimitUs;
    if (is_settled) {
      outcomes.push_back(outcome);
      continue;
    }
    const size_t middle = (start + stop) / 2;
    waiting.emplace_back(middle, stop);  // halves come back in order: the first is scored first
    waiting.emplace_back(start, middle);
  }
  return outcomes;
}

ParcelScorer::Outcome ParcelScorer::attempt(const v1::Frame& part, size_t start, size_t stop,
                                            const RequestName& name) {
  try {
    return {start, stop, std::make_shared<v1::Frame>(score_table_(part)), nullptr};
  } catch (const Fault& fault) {
    if (stop - start == 1) on_failure(fault, name);
    return {start, stop, nullptr, std::make_shared<Fault>(fault)};
  }
}

namespace {
void refuse_items(v1::ParcelScore* score, const v1::Error& error) {
  for (auto& item : *score->mutable_items()) {
    item.set_rows(0);
    *item.mutable_error() = error;
  }
}
}  // namespace

v1::ParcelScore ParcelScorer::reply(Work* work, int64_t started, int64_t finished) {
  const Delivery& delivery = work->delivery;
  v1::ParcelScore score;
  score.set_parcel_id(delivery.parcel.parcel_id());
  score.set_endpoint(identity_.endpoint);
  score.set_model(identity_.name);
  score.set_version(identity_.version);
  score.set_replica(identity_.replica);
  auto* timing = score.mutable_timing();
  timing->set_received_unix_us(delivery.received_unix_us ? delivery.received_unix_us : started);
  timing->set_started_unix_us(started);
  timing->set_finished_unix_us(finished);
  score.set_parcel_sequence(delivery.sequence);
  score.set_delivery(delivery.number);
  score.set_stage(static_cast<uint32_t>(identity_.stage));
  if (auto outputs = work->join_outputs()) *score.mutable_outputs() = std::move(*outputs);
  for (size_t i = 0; i < work->rows.size(); ++i) {
    const auto& item = delivery.parcel.items(static_cast<int>(i));
    auto* answer = score.add_items();
    answer->set_request_id(item.request_id());
    if (is_traceparent(item.traceparent())) answer->set_traceparent(item.traceparent());
    const auto error = work->errors.find(i);
    if (error == work->errors.end()) {
      answer->set_rows(item.rows());
    } else {
      *answer->mutable_error() = error->second;
    }
  }
  const auto size = static_cast<int64_t>(score.ByteSizeLong());
  if (size <= max_bytes) return score;
  const Fault too_large(v1::ERROR_CODE_TOO_LARGE,
                        "the model's output has " + std::to_string(size) + " bytes for this parcel; the limit is " +
                            std::to_string(max_bytes) + ": give fewer or smaller columns, or send fewer rows a request",
                        {{"actual", std::to_string(size)}, {"limit", std::to_string(max_bytes)}});
  score.clear_outputs();
  refuse_items(&score, too_large.error());
  // Of very many requests even their errors are too long.
  if (static_cast<int64_t>(score.ByteSizeLong()) > max_bytes) {
    refuse_items(&score, Fault(v1::ERROR_CODE_TOO_LARGE, "too large").error());
  }
  if (static_cast<int64_t>(score.ByteSizeLong()) > max_bytes) {
    for (auto& item : *score.mutable_items()) item.clear_traceparent();
    refuse_items(&score, Fault(v1::ERROR_CODE_TOO_LARGE, "").error());
  }
  return score;
}

}  // namespace rv
