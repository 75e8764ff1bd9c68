import Engine
import ModuleTesting
import Testing

@testable import Modules

struct HTTPRequestTests {
  static let get = "GET / HTTP/1.1\r\nHost: a\r\n"
  static let identity = "Accept-Encoding: identity\r\n"
  static let chunks = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"

  @Test(arguments: [
    (get + "\r\n", get + identity + "\r\n"),
    (get + "Accept-Encoding: gzip, br\r\n\r\n", get + identity + "\r\n"),
    (get + "accept-encoding:gzip\r\nX: y\r\nACCEPT-ENCODING:\r\n\r\n", get + "X: y\r\n" + identity + "\r\n"),
    (get + "Accept-Encoding: identity\r\n\r\n", get + "Accept-Encoding: identity\r\n\r\n"),
    // Two in one go, the first with a body that looks like a request.
    (
      "POST / HTTP/1.1\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n" + get + "\r\n",
      "POST / HTTP/1.1\r\nContent-Length: 18\r\n" + identity + "\r\nGET / HTTP/1.1\r\n\r\n" + get + identity + "\r\n"
    ),
    (
      chunks + "\r\n3;x\r\nabc\r\n0\r\nX: y\r\n\r\n" + get + "\r\n",
      chunks + identity + "\r\n3;x\r\nabc\r\n0\r\nX: y\r\n\r\n" + get + identity + "\r\n"
    ),
    // An offer to change the protocol that nobody has taken up yet.
    (
      get + "Upgrade: h2c\r\nConnection: upgrade\r\n\r\n" + get + "\r\n",
      get + "Upgrade: h2c\r\nConnection: upgrade\r\n" + identity + "\r\n" + get + identity + "\r\n"
    ),
    // Not followed any more behind what can be read in two ways.
    (
      get + "\r\n" + get + "X : y\r\n\r\n" + get + "\r\n",
      get + identity + "\r\n" + get + "X : y\r\n\r\n" + get + "\r\n"
    ),
    (get + "\r\nGET / HTTP/1.1\n\n" + get + "\r\n", get + identity + "\r\nGET / HTTP/1.1\n\n" + get + "\r\n"),
    (
      chunks + "\r\n3\r\nabcXX0\r\n\r\n" + get + "\r\n",
      chunks + identity + "\r\n3\r\nabcXX0\r\n\r\n" + get + "\r\n"
    ),
    (
      get + "\r\n" + chunks + "Content-Length: 3\r\n\r\nabc" + get + "\r\n",
      get + identity + "\r\n" + chunks + "Content-Length: 3\r\n\r\nabc" + get + "\r\n"
    ),
    // Not HTTP/1.
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("\u{16}\u{3}\u{1}hello", "\u{16}\u{3}\u{1}hello"),
    ("GET /\r\n\r\n", "GET /\r\n\r\n"),
  ])
  func asksForPagesWithoutCompression(requests: String, expected: String) throws {
    for size in [1, 2, 3, 7, 20, 100, 1_000] {
      let bench = try Bench(AdBlock.self)
      let bytes = Array(requests.utf8)
      for start in stride(from: 0, to: bytes.count, by: size) {
        bench.feedPeer(bytes[start..<min(start + size, bytes.count)])
      }
      bench.feedPeer([], isEnded: true)
      #expect(bench.peerOutput.text == expected, "in pieces of \(size)")
    }
  }

  @Test func getsInStepWithAWindowThatBeginsWithARequest() throws {
    let bench = try Bench(AdBlock.self, comesLate: true)
    bench.feedPeer(Array("the end of a body\r\n\r\n".utf8))
    bench.feed(Array("the end of a page <script src=pagead></script>".utf8))
    #expect(bench.output.text == "the end of a page <script src=pagead></script>")
    bench.feedPeer(Array("more of it \(Self.get)\r\n".utf8))
    #expect(bench.peerOutput.text == "the end of a body\r\n\r\nmore of it \(Self.get)\r\n")
    bench.feedPeer(Array((Self.get + "\r\n").utf8))
    #expect(bench.peerOutput.text.hasSuffix(Self.get + Self.identity + "\r\n"))
  }

  @Test func doesNotHoldABeginningForLong() throws {
    let bench = try Bench(AdBlock.self)
    bench.feedPeer(Array("GET / HT".utf8))
    #expect(bench.peerOutput.isEmpty)
    bench.expire()
    #expect(bench.peerOutput.text == "GET / HT")
    // The rest of that one is no request; the next one is.
    bench.feedPeer(Array("TP/1.1\r\n\r\n".utf8))
    bench.feedPeer(Array((Self.get + "\r\n").utf8))
    #expect(bench.peerOutput.text == "GET / HTTP/1.1\r\n\r\n" + Self.get + Self.identity + "\r\n")
  }

  @Test func letsHeadsBeyondTheBoundPass() throws {
    let head = Self.get + "X: " + String(repeating: "y", count: 66_000) + "\r\n\r\n"
    for size in [1_000, 70_000] {
      let bench = try Bench(AdBlock.self)
      bench.feedPeer(Array((Self.get + "\r\n").utf8))
      let bytes = Array(head.utf8)
      for start in stride(from: 0, to: bytes.count, by: size) {
        bench.feedPeer(bytes[start..<min(start + size, bytes.count)])
      }
      #expect(bench.peerOutput.text == Self.get + Self.identity + "\r\n" + head)
    }
  }

  @Test func followsAClientThatPipelinesUpToABound() throws {
    let bench = try Bench(AdBlock.self)
    for _ in 0..<300 { bench.feedPeer(Array((Self.get + "\r\n").utf8)) }
    #expect(bench.peerOutput.text.split(separator: Self.identity, omittingEmptySubsequences: false).count - 1 == 256)
    var random = SplitMix(seed: 1)
    let page = Page.wellFormed(500)
    let response = Framing.length.response(page, &random)
    for _ in 0..<300 { bench.feed(response) }
    let messages = Message.all(in: bench.output)
    #expect(messages.count == 300)
    #expect(messages.filter { $0.body == Page.clipped(page) }.count == 256)
    #expect(messages.suffix(44).allSatisfy { $0.body == page })
  }

  @Test func leavesAConnectionThatIsNotHTTPToTheKernel() throws {
    let bench = try Bench(AdBlock.self)
    bench.feed("SSH-2.0-x\r\n")
    bench.feedPeer("SSH-2.0-y\r\n")
    #expect(bench.state == "working")
    bench.feed("\u{0}\u{1}")
    #expect(bench.state == "offloaded")
    bench.pass(.seconds(1))
    #expect(bench.isOffloaded)
    bench.feedPeer("GET / HTTP/1.1\r\n\r\n")
    bench.feed("more")
    #expect(bench.output.text == "SSH-2.0-x\r\n\u{0}\u{1}more")
  }

  @Test func staysWhereTheServerSpeaksHTTP() throws {
    let bench = try Bench(AdBlock.self)
    bench.feedPeer("GET / HT")
    bench.expire()
    bench.feedPeer("TP/1.1\r\n\r\n")
    bench.feed("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
    bench.feed("def")
    #expect(bench.state == "working")
  }

  @Test func leavesAConnectionThatBecomesAnotherProtocol() throws {
    let bench = try Bench(AdBlock.self)
    bench.feedPeer(Self.get + Self.identity + "Upgrade: websocket\r\n\r\n")
    bench.feed("HTTP/1.1 101 Switching Protocols\r\n\r\n")
    #expect(bench.state == "offloaded")
    bench.pass(.seconds(1))
    // Nothing was edited in the request.
    #expect(bench.isOffloaded)
  }
}
