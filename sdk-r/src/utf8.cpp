// Finds the text that made protobuf refuse a message: it refuses one with invalid UTF-8 as a whole and does not say
// where. So the message is parsed again with descriptors in which every string is bytes, and searched.

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>

#include <memory>
#include <set>

#include "frame.h"
#include "text.h"

namespace rv {

namespace pb = google::protobuf;

namespace {
constexpr const char* kColumn = "rendezvous.v1.Column";

void strings_to_bytes(pb::DescriptorProto* message) {
  message->mutable_options()->set_map_entry(false);  // bytes cannot be a map's key; on the wire it is all the same
  for (auto& field : *message->mutable_field()) {
    if (field.type() == pb::FieldDescriptorProto::TYPE_STRING) field.set_type(pb::FieldDescriptorProto::TYPE_BYTES);
  }
  for (auto& nested : *message->mutable_nested_type()) strings_to_bytes(&nested);
}

void add_file(const pb::FileDescriptor* file, pb::DescriptorPool* pool, std::set<std::string>* added) {
  if (!added->insert(file->name()).second) return;
  for (int i = 0; i < file->dependency_count(); ++i) add_file(file->dependency(i), pool, added);
  pb::FileDescriptorProto copy;
  file->CopyTo(&copy);
  for (auto& message : *copy.mutable_message_type()) strings_to_bytes(&message);
  pool->BuildFile(copy);
}

std::string text_of(const pb::Message& message, const pb::FieldDescriptor* field, int index) {
  const auto* reflection = message.GetReflection();
  return field->is_repeated() ? reflection->GetRepeatedString(message, field, index)
                              : reflection->GetString(message, field);
}

std::string printable(const std::string& octets) {
  std::string text;
  for (const unsigned char octet : octets.substr(0, 40)) text += octet >= 0x20 && octet < 0x7F ? octet : '?';
  return text;
}

struct Search {
  std::string where;   // empty: nothing found
  std::string column;  // the column at fault, if it is in one
};

void search(const pb::Message& message, const pb::Descriptor* strict, const std::string& path, Search* found);

void search_field(const pb::Message& message, const pb::FieldDescriptor* field, const pb::FieldDescriptor* declared,
                  const std::string& path, Search* found) {
  const auto* reflection = message.GetReflection();
  const int count = field->is_repeated() ? reflection->FieldSize(message, field) : 1;
  for (int i = 0; i < count && found->where.empty(); ++i) {
    const std::string place =
        (path.empty() ? "" : path + ".") + field->name() + (field->is_repeated() ? "[" + std::to_string(i) + "]" : "");
    if (declared->message_type() != nullptr) {
      const auto& nested = field->is_repeated() ? reflection->GetRepeatedMessage(message, field, i)
                                                : reflection->GetMessage(message, field);
      search(nested, declared->message_type(), place, found);
    } else if (declared->type() == pb::FieldDescriptor::TYPE_STRING) {
      const std::string octets = text_of(message, field, i);
      const int64_t at = first_bad_utf8(octets.data(), octets.size());
      if (at < 0) continue;
      std::string named = place;
      if (declared->containing_type()->full_name() == kColumn) {
        found->column = printable(text_of(message, message.GetDescriptor()->FindFieldByName("name"), 0));
        named = "column '" + found->column + "': " +
                (field->name() == "name" ? "its name" : "element " + std::to_string(i));
      }
      char octet[8];
      std::snprintf(octet, sizeof octet, "0x%02x", static_cast<unsigned char>(octets[at]));
      found->where = named + " is not valid UTF-8 (byte " + octet + " at " + std::to_string(at) + ")";
    }
  }
}

void search(const pb::Message& message, const pb::Descriptor* strict, const std::string& path, Search* found) {
  std::vector<const pb::FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const auto* field : fields) {
    if (!found->where.empty()) return;
    if (const auto* declared = strict->FindFieldByNumber(field->number())) {
      search_field(message, field, declared, path, found);
    }
  }
}
}  // namespace

std::string diagnose_bad_utf8(const std::string& raw, const std::string& message_type, std::string* column) {
  const auto* strict = pb::DescriptorPool::generated_pool()->FindMessageTypeByName(message_type);
  if (strict == nullptr) return "";
  pb::DescriptorPool pool;
  std::set<std::string> added;
  add_file(strict->file(), &pool, &added);
  const auto* lenient = pool.FindMessageTypeByName(message_type);
  if (lenient == nullptr) return "";
  pb::DynamicMessageFactory factory(&pool);
  const std::unique_ptr<pb::Message> message(factory.GetPrototype(lenient)->New());
  if (!message->ParseFromString(raw)) return "";
  Search found;
  search(*message, strict, "", &found);
  *column = found.column;
  return found.where;
}

}  // namespace rv
