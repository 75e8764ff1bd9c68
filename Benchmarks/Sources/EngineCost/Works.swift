import CAllocations
import Engine
import Glibc
import Modules
import Reader

/// Pieces of work, each with a state that it starts from. What they cost is counted, not timed.
struct Work: Sendable {
  typealias Step = @Sendable (inout Conversations) -> Void

  let name: String
  /// How many of what is counted: packets, connections or octets.
  let units: Int
  let modules: [any ProcessingModule]
  var others = 0
  /// What comes before, not counted.
  var prepare: Step = { $0.open(0) }
  let run: Step

  /// Does it once, and returns how often it took memory from the heap. For callgrind, its work is all in `counted`.
  func allocations() -> UInt64 {
    var conversations = Conversations(modules, others: others)
    prepare(&conversations)
    let before = allocation_count()
    withUnsafeMutablePointer(to: &conversations) { place in
      var context = Context(run: run, conversations: place)
      withUnsafeMutablePointer(to: &context) { context in
        counted({ $0!.assumingMemoryBound(to: Context.self).pointee.go() }, context)
      }
    }
    return allocation_count() - before
  }

  /// The packets of this work, the octets in them, and how long an engine alone takes for them, in nanoseconds of CPU: the
  /// median of `rounds`. They are made before, and then copied to where the kernel would write them.
  func rate(rounds: Int) -> (packets: Int, octets: Int, nanoseconds: Double) {
    var maker = Conversations(modules, others: others)
    maker.record()
    prepare(&maker)
    let before = maker.recording
    maker.record()
    run(&maker)
    let packets = maker.recording
    let times = (0..<rounds).map { _ in
      var conversations = Conversations(modules, others: others)
      conversations.repeatAll(before)
      let start = processorTime()
      conversations.repeatAll(packets)
      let time = processorTime() - start
      // What does the same work has the same to say.
      let (own, theirs) = (conversations.engine.statistics, maker.engine.statistics)
      guard own.engine.mangled == theirs.engine.mangled, own.engine.dropped == theirs.engine.dropped else {
        fatalError("\(name): another work")
      }
      return time
    }
    return (packets.count, packets.reduce(0) { $0 + $1.octets.count }, times.sorted()[rounds / 2])
  }

  private struct Context {
    let run: Step
    let conversations: UnsafeMutablePointer<Conversations>

    func go() { run(&conversations.pointee) }
  }
}

let text = Array("the cat sat on the mat; ".utf8) + [UInt8](repeating: 0x2e, count: 1_376)
private let manyWords = Array(String(repeating: "the cat sat on the mat; ", count: 50).utf8)
private let keystroke = [UInt8](repeating: 0x2e, count: 40)
private let advertisement = Array("<p>x</p><script src='https://x.doubleclick.net/a.js'></script>".utf8)
private let page = advertisement + [UInt8](repeating: 0x2e, count: 1_400 - advertisement.count)
let superPacket = [UInt8](repeating: 0x2e, count: 60_000)
/// Text with a tag now and then, and among them a script of its own and an ad.
private let richPage: [UInt8] = {
  let text = Array(String(repeating: "words and words of a page, all of them lower case ", count: 11).utf8)
  let lines = Array([[[UInt8]]](repeating: [text, Array("<p>".utf8)], count: 20).joined().joined())
  let scripts = Array("<script src=\"/js/application.js\"></script>".utf8) + advertisement
  return Array([[UInt8]](repeating: lines + scripts, count: 6).joined().prefix(60_000))
}()
private let getRequest = Array("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n".utf8)
private let response =
  Array(
    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 40\r\n\r\n".utf8) + keystroke
private let pageHead = Array(
  "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4000000000\r\n\r\n".utf8)

/// So many packets from the server, each acknowledged.
private func send(_ count: Int, _ payload: [UInt8]) -> Work.Step {
  { conversations in
    for _ in 0..<count {
      conversations.respond(0, payload)
      conversations.request(0)
    }
  }
}

/// Opened, and warm: the first packets find room for everything that is kept.
private func warm(_ payload: [UInt8]) -> Work.Step {
  { conversations in
    conversations.open(0)
    send(200, payload)(&conversations)
  }
}

/// Clients that have asked for a page, and have its beginning.
private func warmPages(_ clients: Int) -> Work.Step {
  { conversations in
    for client in 0..<clients {
      conversations.open(client)
      conversations.request(client, getRequest)
      conversations.respond(client, pageHead)
      conversations.request(client)
    }
    sendPages(clients, max(400, 20 * clients))(&conversations)
  }
}

private func sendPages(_ clients: Int, _ count: Int, _ page: [UInt8] = page) -> Work.Step {
  { conversations in
    for number in 0..<count {
      conversations.respond(number % clients, page)
      conversations.request(number % clients)
    }
  }
}

/// Forty segments on their way, of which the client acknowledges `each` octets at a time.
private func acknowledging(_ name: String, _ module: any ProcessingModule, _ payload: [UInt8], each: Int) -> Work {
  Work(
    name: name, units: 39, modules: [module],
    prepare: { conversations in
      warm(payload)(&conversations)
      for _ in 0..<40 { conversations.respond(0, payload) }
    },
    run: { conversations in
      for _ in 0..<39 where !conversations.acknowledge(0, each) { fatalError("less has come") }
    })
}

private func connections(_ count: Int) -> Work.Step {
  { conversations in
    for number in 0..<count {
      conversations.open(number)
      conversations.request(number, getRequest)
      conversations.respond(number, response)
      conversations.request(number)
      conversations.close(number)
    }
  }
}

private func kind<Module: ProcessingModule>(_ kind: Module.Type, _ given: [(key: String, value: String)] = [])
  -> any ProcessingModule
{
  guard let arguments = try? Arguments(given, for: kind.description.parameters), let module = try? kind.init(arguments)
  else {
    fatalError("\(kind) takes other arguments")
  }
  return module
}

let adBlock = kind(AdBlock.self)
let counter = kind(Counter.self)
let reader = kind(Reader.self)
private let replaceNever = kind(Replace.self, [("from", "never there"), ("to", "x")])
private let shrinkEach = kind(Replace.self, [("from", "cat"), ("to", "at")])
let replaceEach = kind(Replace.self, [("from", "cat"), ("to", "caterpillar")])

/// A packet with data and its acknowledgement count as two.
let works = [
  Work(name: "in order, no module", units: 1_000, modules: [], prepare: warm(text), run: send(500, text)),
  Work(name: "in order, counter", units: 1_000, modules: [counter], prepare: warm(text), run: send(500, text)),
  Work(name: "in order, reader", units: 1_000, modules: [reader], prepare: warm(text), run: send(500, text)),
  Work(name: "small, counter", units: 1_000, modules: [counter], prepare: warm(keystroke), run: send(500, keystroke)),
  Work(
    name: "in order, two counters", units: 1_000, modules: [counter, counter], prepare: warm(text),
    run: send(500, text)),
  Work(
    name: "in order, replace that never matches", units: 1_000, modules: [replaceNever], prepare: warm(text),
    run: send(500, text)),
  Work(name: "edit in each", units: 1_000, modules: [replaceEach], prepare: warm(text), run: send(500, text)),
  Work(
    name: "adblock, an ad in each", units: 1_000, modules: [adBlock], prepare: warmPages(1), run: sendPages(1, 500)),
  Work(
    name: "adblock, an ad in each, 1,000 streams", units: 4_000, modules: [adBlock], prepare: warmPages(1_000),
    run: sendPages(1_000, 2_000)),
  Work(
    name: "adblock, an octet of a page in super-packets", units: 1_200_000, modules: [adBlock],
    prepare: { conversations in
      warmPages(1)(&conversations)
      sendPages(1, 40, richPage)(&conversations)
    }, run: sendPages(1, 20, richPage)),
  Work(
    name: "out of order", units: 900, modules: [replaceNever], prepare: warm(text),
    run: { conversations in
      for _ in 0..<300 {
        conversations.respondSwapped(0, text)
        conversations.request(0)
      }
    }),
  Work(
    name: "retransmit", units: 900, modules: [replaceEach], prepare: warm(text),
    run: { conversations in
      for _ in 0..<300 {
        conversations.respond(0, text)
        conversations.repeatResponse(0, text)
        conversations.request(0)
      }
    }),
  acknowledging("acknowledge, 40 edits under way", replaceEach, text, each: text.count),
  acknowledging("acknowledge, 2,000 edits under way", shrinkEach, manyWords, each: manyWords.count - 50),
  Work(
    name: "search an octet", units: 1_200_000, modules: [replaceNever], prepare: warm(superPacket),
    run: { conversations in send(20, superPacket)(&conversations) }),
  Work(
    name: "classify, 1,000 flows of 8 shapes", units: 500, modules: [counter], others: 1_000,
    run: { conversations in for number in 0..<500 { conversations.stray(number) } }),
  Work(
    name: "UDP, counter", units: 1_000, modules: [counter],
    prepare: { conversations in for _ in 0..<200 { conversations.exchangeDatagrams(0, text) } },
    run: { conversations in for _ in 0..<500 { conversations.exchangeDatagrams(0, text) } }),
  Work(
    name: "connection, counter", units: 300, modules: [counter], prepare: connections(300), run: connections(300)),
  Work(
    name: "connection, adblock", units: 300, modules: [adBlock], prepare: connections(300), run: connections(300)),
]
