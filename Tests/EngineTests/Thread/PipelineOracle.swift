import Synchronization
import Testing

@testable import Engine

/// What must arrive: the modules' pure functions, one behind the other, each on the octets that it had.
struct PipelineOracle {
  let plan: PipelinePlan
  let comment: Comment
  /// How far from where it must a module may be found to have begun.
  var slack = 0

  /// The stream as it comes to each slot, and behind the last; nil where a module got what was not there.
  func streams(of source: [UInt8]) -> [[UInt8]]? {
    var streams = [source]
    for slot in 0..<PipelinePlan.slots {
      let input = streams[slot]
      var places: [(range: Range<Int>, output: [UInt8])] = []
      for module in plan.modules where module.isEditor {
        // Of one module each comes behind the one before.
        var end = 0
        for trace in module.traces.all.withLock({ $0 }) where trace.place.slot == slot {
          let record = trace.record.withLock { $0 }
          guard !record.input.isEmpty else { continue }
          let start = max(end, trace.place.start.lowerBound)...max(end, trace.place.start.upperBound)
          guard let place = find(record.input, in: input, start) else {
            let what = "module \(module.id) got \(record.input.count) octets that do not begin in \(trace.place.start)"
            Issue.record("\(what) of slot \(slot): \(comment)")
            return nil
          }
          end = place + record.input.count
          places.append((place..<place + record.input.count, record.output))
        }
      }
      var output: [UInt8] = []
      var at = 0
      for place in places.sorted(by: { $0.range.lowerBound < $1.range.lowerBound }) {
        guard place.range.lowerBound >= at else {
          Issue.record("two modules of slot \(slot) got octet \(place.range.lowerBound): \(comment)")
          return nil
        }
        output += input[at..<place.range.lowerBound] + place.output
        at = place.range.upperBound
      }
      streams.append(output + input[at...])
    }
    return streams
  }

  /// What readers got must have been there. One that comes while an editor of its slot is still at work on what it had been
  /// handed stands behind that one.
  func checkReaders(_ streams: [[UInt8]]) {
    for module in plan.all where !module.isEditor {
      for trace in module.traces.all.withLock({ $0 }) {
        let record = trace.record.withLock { $0 }
        let slot = trace.place.slot
        #expect(
          record.input.isEmpty || find(record.input, in: streams[slot], trace.place.start) != nil
            || find(record.input, in: streams[slot + 1], 0...Int.max) != nil, "module \(module.id), \(comment)")
      }
    }
  }

  private func find(_ part: [UInt8], in whole: [UInt8], _ start: ClosedRange<Int>) -> Int? {
    guard part.count <= whole.count else { return nil }
    let last = min(whole.count - part.count, start.upperBound == .max ? .max : start.upperBound + slack)
    let first = max(0, start.lowerBound - slack)
    guard first <= last else { return nil }
    let head = part.prefix(64)
    // As a rule at the one end or the other.
    return (first == last ? [first] : [first, last] + Array(first + 1..<last)).first { at in
      whole[at..<at + head.count] == head && whole[at..<at + part.count] == part[...]
    }
  }

  // MARK: Packets

  /// What may stand at each place of a stream behind modules for packets, which `octets` came to.
  ///
  /// - Parameter start: the number of the first octet.
  func check(_ modules: [PipelinePlan.PacketModule], on octets: [UInt8], start: UInt32) -> [[UInt8]] {
    var choices = octets.map { [$0] }
    for module in modules {
      var behind = plan.isPacketWorkLive ? choices : choices.map { _ in [] }
      for segment in module.trace.segments.withLock({ $0 }) {
        let offset = Int(Int32(bitPattern: segment.sequence &- start))
        for (index, octet) in segment.input.enumerated() where choices.indices.contains(offset + index) {
          let place = offset + index
          guard choices[place].contains(octet) else {
            Issue.record("a segment of \(offset) has \(octet) at \(place) instead of \(choices[place]): \(comment)")
            return choices
          }
          if !behind[place].contains(segment.output[index]) { behind[place].append(segment.output[index]) }
        }
      }
      choices = behind
    }
    return choices
  }
}
