// What the engine needs of memory, without a network.
//
//   EngineCost idle COUNT [MODULE...]   octets of resident memory for each of COUNT connections that are open and idle
//   EngineCost busy [MODULE...]         allocations on the heap for each packet of one that is busy, acknowledgements among them
//
// The modules stand in stages of their own, in front of what the server of a flow sends.
import CAllocations
import Engine
import Glibc
import Modules

let kinds: [String: any ProcessingModule] = [
  "adblock": make(AdBlock.self), "counter": make(Counter.self),
  "replace-never": make(Replace.self, [("from", "never there"), ("to", "x")]),
  "replace-each": make(Replace.self, [("from", "cat"), ("to", "caterpillar")]),
]
var words = CommandLine.arguments.dropFirst()
let work = words.popFirst()
let count = work == "idle" ? words.popFirst().flatMap { Int($0) } : 1
let modules = words.compactMap { kinds[$0] }
guard let work, ["idle", "busy"].contains(work), let count, modules.count == words.count else {
  fatalError("usage: EngineCost idle COUNT | busy, then any of \(kinds.keys.sorted())")
}
var conversations = Conversations(modules)
if work == "idle" {
  let before = residentOctets()
  for number in 0..<count { conversations.open(number) }
  let held = conversations.engine.statistics.connections
  guard held == count else { fatalError("\(held) connections are held, not \(count)") }
  print((residentOctets() - before) / count)
} else {
  conversations.open(0)
  let payload = Array("the cat sat on the mat; ".utf8) + [UInt8](repeating: 0x2e, count: 1_400)
  // The first packets find room for everything that is kept; what comes behind them is the steady state.
  conversations.send(2_000, payload)
  let before = allocation_count()
  conversations.send(10_000, payload)
  print(Double(allocation_count() - before) / 20_000)
}

func make<Module: ProcessingModule>(_ kind: Module.Type, _ given: [(key: String, value: String)] = [])
  -> any ProcessingModule
{
  guard let arguments = try? Arguments(given, for: kind.description.parameters), let module = try? kind.init(arguments)
  else {
    fatalError("\(kind) takes other arguments")
  }
  return module
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
