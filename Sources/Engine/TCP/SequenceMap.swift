import DequeModule

/// The sequence map of one direction: which of the destination's sequence numbers stands for which of the source's.
///
/// A list of runs, each a stretch that left as it came. Between two runs lies a gap: numbers of the source that were
/// removed, numbers of the destination that were inserted, or both (a replacement).
///
///     source       |----run 0----|  gap  |------run 1------|------run 2---|
///     destination  |----run 0----|------run 1------|  gap  |------run 2---|
///                                ^ removed         ^ inserted
///
/// Nothing is entered by whoever edits: ``append(_:)`` sees the segments as they leave and notes where the numbers jump.
/// An insertion is tied to the octet in front of it for as long as that one is not acknowledged to the source, so that
/// the source's own retransmission covers what was inserted.
///
/// Look-ups are binary searches; the map is pruned as both sides acknowledge, so its size is bounded by the edits in
/// flight.
struct SequenceMap: ~Copyable {
  private struct Run {
    var input: InSequence
    var output: OutSequence
    var count: UInt32
  }

  /// Never empty; the first may have no octets.
  private var runs: Runs
  /// Runs of what the destination has acknowledged, as far as it may report them as duplicates; the last without octets while
  /// there is none.
  private var past: Runs
  private static var pastLimit: Int { 32 }
  /// Octets of one past run: no window is as large.
  private static var pastRunLimit: UInt32 { 1 << 30 }
  /// Behind the last number of the source that has been mapped.
  private(set) var inputEnd: InSequence
  /// Behind the last number of the destination that has been given out.
  private(set) var outputEnd: OutSequence
  /// Goes up whenever something leaves that is not just the next octet of the source.
  private(set) var jumps: UInt32 = 0

  /// Runs in order, one at the least; a single one takes nothing of the heap.
  private struct Runs {
    private var earlier: Deque<Run> = []
    var last: Run

    init(_ first: Run) { last = first }

    var count: Int { earlier.count + 1 }

    subscript(index: Int) -> Run {
      @inline(__always) get { index < earlier.count ? earlier[index] : last }
    }

    var first: Run {
      get { earlier.first ?? last }
      set { if earlier.isEmpty { last = newValue } else { earlier[0] = newValue } }
    }

    mutating func append(_ run: Run) {
      earlier.append(last)
      last = run
    }

    /// Takes the first of several off.
    mutating func removeFirst() -> Run { earlier.removeFirst() }
  }

  /// A map in which nothing has been moved yet.
  init(start: InSequence) {
    inputEnd = start
    outputEnd = OutSequence(start.raw)
    runs = Runs(Run(input: start, output: outputEnd, count: 0))
    past = runs
  }

  var runCount: Int { runs.count }

  /// How far the destination's numbers are ahead of the source's at the end of the map.
  var shift: Int { outputEnd - OutSequence(inputEnd.raw) }

  /// Whether every number still in the map stands for itself.
  var isIdentity: Bool {
    runs.count == 1 && runs.last.input.raw == runs.last.output.raw && shift == 0
  }

  // MARK: What leaves

  /// Notes a segment that leaves next.
  ///
  /// - Parameter acknowledged: what has been acknowledged to the source.
  mutating func append(_ segment: Segment, acknowledged: InSequence) {
    if segment.sourceCount == 0 {
      appendInserted(segment.count, acknowledged: acknowledged)
    } else if segment.count == 0 {
      inputEnd += Int(segment.sourceCount)
      jump()
    } else {
      appendKept(segment.count)
    }
  }

  /// Notes `count` numbers that leave as they came.
  mutating func appendKept(_ count: Int) {
    let last = runs.last
    if last.input + Int(last.count) == inputEnd, last.output + Int(last.count) == outputEnd {
      runs.last.count += UInt32(count)
    } else {
      runs.append(Run(input: inputEnd, output: outputEnd, count: UInt32(count)))
    }
    inputEnd += count
    outputEnd += count
  }

  private mutating func appendInserted(_ count: Int, acknowledged: InSequence) {
    let last = runs.last
    let end = last.input + Int(last.count)
    if last.count > 0, end == inputEnd, last.output + Int(last.count) == outputEnd, end > acknowledged {
      runs.last.count -= 1
    } else if InSequence.earlier(acknowledged, inputEnd) > end, last.output + Int(last.count) == outputEnd {
      // What was removed in front of it is acknowledged already, and stays so: the gap begins behind that.
      runs.append(Run(input: InSequence.earlier(acknowledged, inputEnd), output: outputEnd, count: 0))
    }
    outputEnd += count
    jump()
  }

  /// Never back to 0.
  private mutating func jump() { jumps = max(1, jumps &+ 1) }

  // MARK: Translation

  /// The acknowledgement for the source that an acknowledgement of the destination stands for: behind the last octet of
  /// the source all of whose images the destination has. Through what was removed, in front of what was inserted.
  func acknowledgement(_ number: OutSequence) -> InSequence {
    if number >= outputEnd { return inputEnd + (number - outputEnd) }
    let run = runs[lastRun(startingAtOrBefore: number)]
    return run.input + min(max(0, number - run.output), Int(run.count))
  }

  /// The first number of the destination that stands for `number` of the source, with what was inserted in front of it.
  func start(_ number: InSequence) -> OutSequence {
    if number > inputEnd { return outputEnd + (number - inputEnd) }
    let run = runs[lastRun(startingBefore: number)]
    return run.output + min(max(0, number - run.input), Int(run.count))
  }

  /// Behind the last number of the destination that stands for a number of the source in front of `number`.
  func end(_ number: InSequence) -> OutSequence {
    if number >= inputEnd { return outputEnd + (number - inputEnd) }
    let index = lastRun(startingBefore: number)
    let run = runs[index]
    let offset = number - run.input
    if offset <= Int(run.count) { return run.output + max(0, offset) }
    return index + 1 < runs.count ? runs[index + 1].output : outputEnd
  }

  /// The SACK block for the source (RFC 2018) that a block of the destination stands for, or nil where nothing of the
  /// source's lies wholly within.
  func block(_ left: OutSequence, _ right: OutSequence) -> (left: InSequence, right: InSequence)? {
    guard right > left, right <= outputEnd else { return nil }
    var first = acknowledgement(left)
    let index = lastRun(startingAtOrBefore: left)
    let run = runs[index]
    if left - run.output > Int(run.count) {
      // The block begins inside of what was inserted: all of that gap is lost to it.
      first = index + 1 < runs.count ? runs[index + 1].input : inputEnd
    }
    let last = acknowledgement(right)
    return last > first ? (first, last) : nil
  }

  /// Where the octet with `number` of the source went; nil where it was removed, or is acknowledged already.
  func image(_ number: InSequence) -> OutSequence? {
    if number >= inputEnd { return outputEnd + (number - inputEnd) }
    let run = runs[lastRun(startingBefore: number + 1)]
    let offset = number - run.input
    return offset >= 0 && offset < Int(run.count) ? run.output + offset : nil
  }

  /// The block for the source that a report of duplicates stands for (RFC 2883), which lies in front of what the destination
  /// has acknowledged; nil where nothing of the source's is known to lie within.
  func duplicate(_ left: OutSequence, _ right: OutSequence) -> (left: InSequence, right: InSequence)? {
    var block: (left: InSequence, right: InSequence)?
    // From the latest of the past ones back, then the first of those that count.
    for index in (-1..<past.count).reversed() {
      let run = index < 0 ? runs.first : past[index]
      let first = OutSequence.later(left, run.output)
      let last = OutSequence.earlier(right, run.output + Int(run.count))
      guard first < last else { continue }
      let (begin, end) = (run.input + (first - run.output), run.input + (last - run.output))
      block = block.map { (.earlier($0.left, begin), .later($0.right, end)) } ?? (begin, end)
    }
    return block
  }

  /// Index of the last run with `output <= number`, or 0.
  private func lastRun(startingAtOrBefore number: OutSequence) -> Int {
    var low = 0
    var high = runs.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if runs[middle].output <= number { low = middle } else { high = middle }
    }
    return low
  }

  /// Index of the last run with `input < number`, or 0.
  private func lastRun(startingBefore number: InSequence) -> Int {
    var low = 0
    var high = runs.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if runs[middle].input < number { low = middle } else { high = middle }
    }
    return low
  }

  // MARK: Pruning

  /// Forgets what lies in front of `number`, which the destination has acknowledged. It must not go backwards.
  mutating func prune(acknowledged number: OutSequence) {
    while runs.count > 1, runs[1].output <= number { remember(runs.removeFirst()) }
    var first = runs.first
    let passed = number - first.output
    guard passed > 0 else { return }
    // Within the run it moves along; within the gap behind it only the run goes, so that the gap keeps its beginning.
    let moved = min(passed, Int(first.count))
    remember(Run(input: first.input, output: first.output, count: UInt32(moved)))
    first.input += moved
    first.output += moved
    first.count -= UInt32(moved)
    if number >= outputEnd { first = Run(input: inputEnd, output: outputEnd, count: 0) }
    runs.first = first
  }

  private mutating func remember(_ run: Run) {
    guard run.count > 0 else { return }
    let last = past.last
    if last.count == 0 {
      past.last = run
    } else if last.input + Int(last.count) == run.input, last.output + Int(last.count) == run.output {
      past.last.count = min(last.count + run.count, Self.pastRunLimit)
      let dropped = Int(last.count + run.count - past.last.count)
      past.last.input += dropped
      past.last.output += dropped
    } else {
      if past.count == Self.pastLimit { _ = past.removeFirst() }
      past.append(run)
    }
  }
}
