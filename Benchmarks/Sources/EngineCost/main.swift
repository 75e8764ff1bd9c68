// What the engine needs of memory and of work, without a network.
//
//   EngineCost idle COUNT [MODULE...]   octets of resident memory for each of COUNT connections that are open and idle
//   EngineCost work [NUMBER]            all pieces of work, or one: a line for each, name, units and allocations, with tabs
//   EngineCost rate            a line for each piece of work: name, packets, their octets, nanoseconds of CPU for all of them
//   EngineCost grow WHAT NUMBER         nanoseconds of a packet, once there are so many connections, flows, modules, or past edits
//
// The modules stand in stages of their own, in front of what the server of a flow sends. Under callgrind with
// --toggle-collect=counted --dump-after=counted the instructions of each piece of work are in a file of its own.
import CAllocations
import Engine
import Glibc
import Modules

let kinds: [String: any ProcessingModule] = ["adblock": adBlock, "counter": counter]
let words = Array(CommandLine.arguments.dropFirst())
switch words.first {
case "idle" where words.count > 1:
  guard let count = Int(words[1]), words[2...].allSatisfy({ kinds[$0] != nil }) else { fallthrough }
  var conversations = Conversations(words[2...].compactMap { kinds[$0] })
  conversations.expect(count)
  let before = residentOctets()
  for number in 0..<count { conversations.open(number) }
  let held = conversations.engine.statistics.connections
  guard held == count else { fatalError("\(held) connections are held, not \(count)") }
  print((residentOctets() - before) / count)
case "work" where words.count <= 2:
  for (number, work) in works.enumerated() where words.count == 1 || words[1] == String(number) {
    print(work.name, work.units, work.allocations(), separator: "\t")
  }
case "rate" where words.count == 1:
  for work in works {
    let (packets, octets, nanoseconds) = work.rate(rounds: 9)
    print(work.name, packets, octets, nanoseconds, separator: "\t")
  }
case "grow" where words.count == 3:
  guard let growth = Growth(rawValue: words[1]), let count = Int(words[2]), count > 0 else { fallthrough }
  print(growth.cost(count))
default:
  fatalError(
    "usage: EngineCost idle COUNT [MODULE...] | work [NUMBER] | rate | grow WHAT NUMBER; the modules: \(kinds.keys.sorted())"
  )
}

func residentOctets() -> Int {
  guard let file = fopen("/proc/self/statm", "r") else { fatalError("no /proc") }
  defer { fclose(file) }
  var line = [CChar](repeating: 0, count: 128)
  fgets(&line, CInt(line.count), file)
  let fields = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).split(
    separator: " ")
  return (Int(fields[1]) ?? 0) * Int(sysconf(CInt(_SC_PAGESIZE)))
}

/// CPU time of this thread, in nanoseconds.
func processorTime() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
}
