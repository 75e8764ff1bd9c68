import Engine
import ModuleTesting
import Testing

@testable import Modules

struct HTTPResponseTests {
  static let get = Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
  static let ad = "<p>a<script src=pagead>b</script>c"

  // MARK: Edited

  @Test(arguments: Framing.allCases)
  func editsPagesHoweverTheyAreCut(framing: Framing) throws {
    for seed in 0..<400 {
      var random = SplitMix(seed: seed)
      let page = Page.random(&random, words: 1...60)
      let bench = try Bench(AdBlock.self)
      bench.feedPeer(Self.get)
      bench.feed(framing.response(page, &random), cutBy: &random)
      let messages = Message.all(in: bench.output)
      guard messages.count == 1, messages[0].body == Page.clipped(page), !messages[0].isTruncated else {
        Issue.record("seed \(seed): \(page.text)\n\(bench.output.text)")
        return
      }
    }
  }

  @Test func editsManyResponsesOnOneConnection() throws {
    for seed in 0..<100 {
      var random = SplitMix(seed: seed)
      let bench = try Bench(AdBlock.self)
      let isPipelined = Bool.random(using: &random)
      var stream: [UInt8] = []
      var expected: [[UInt8]] = []
      for _ in 0..<10 {
        let page = Page.random(&random, words: 1...30)
        let framing = [Framing.length, .chunks].randomElement(using: &random)!
        let interim = Bool.random(using: &random) ? "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" : ""
        let response = Array(interim.utf8) + framing.response(page, &random)
        expected += (interim.isEmpty ? [] : [[]]) + [Page.clipped(page)]
        bench.feedPeer(Self.get)
        if isPipelined { stream += response } else { bench.feed(response, cutBy: &random, isEnded: false) }
      }
      bench.feed(stream, cutBy: &random, isEnded: false)
      guard Message.all(in: bench.output).map(\.body) == expected else {
        Issue.record("seed \(seed): \(bench.output.text)")
        return
      }
      #expect(bench.count("responses") == 10 && bench.count("passed") == 0)
    }
  }

  @Test func announcesChunksInPlaceOfALength() throws {
    let bench = try Bench(AdBlock.self)
    bench.feedPeer(Self.get)
    let fields = "Content-Type: text/html\r\n"
    bench.feed(
      Array("HTTP/1.1 200 OK\r\n\(fields)Content-Length: \(Self.ad.utf8.count)\r\nETag: \"x\"\r\n\r\n\(Self.ad)".utf8))
    #expect(
      bench.output.text
        == "HTTP/1.1 200 OK\r\n\(fields)Transfer-Encoding: chunked\r\nETag: \"x\"\r\n\r\n5\r\n<p>ac\r\n0\r\n\r\n")
    #expect(bench.count("scripts") == 1)
    #expect(bench.count("octets_clipped") == Self.ad.utf8.count - 5)
  }

  @Test func keepsTrailersAndDropsExtensions() throws {
    let bench = try Bench(AdBlock.self)
    bench.feedPeer(Self.get)
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
    bench.feed(Array((head + "3;x=y\r\nabc\r\n2\r\nde\r\n0;z\r\nX-Sum: 1\r\n\r\n").utf8))
    #expect(bench.output.text == head + "5\r\nabcde\r\n0\r\nX-Sum: 1\r\n\r\n")
  }

  @Test func sendsOnWhatComesWithoutWaitingForTheEnd() throws {
    let bench = try Bench(AdBlock.self)
    bench.feedPeer(Self.get)
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
    bench.feed(Array(head.utf8))
    bench.feed(Array("6\r\nab<scr\r\n5\r\n".utf8))
    #expect(bench.output.text == head + "2\r\nab\r\n")
    bench.feed(Array("ap>cd\r\n".utf8))
    #expect(bench.output.text == head + "2\r\nab\r\n9\r\n<scrap>cd\r\n")
    bench.feed(Array("0\r\n\r\n".utf8))
    #expect(bench.output.text == head + "2\r\nab\r\n9\r\n<scrap>cd\r\n0\r\n\r\n")
  }

  @Test(arguments: [
    ("", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"),
    (
      "Connection: keep-alive\r\n",
      "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n"
    ),
  ])
  func raisesTheVersionOfAResponseThatGetsChunks(fields: String, head: String) throws {
    let bench = try Bench(AdBlock.self)
    bench.feedPeer(Self.get)
    bench.feed(
      Array("HTTP/1.0 200 OK\r\nContent-Type: text/html\r\nContent-Length: 34\r\n\(fields)\r\n\(Self.ad)".utf8))
    #expect(bench.output.text == head + "5\r\n<p>ac\r\n0\r\n\r\n")
  }

  @Test func announcesChunksInPlaceOfALengthWithMuchSpaceAroundIt() throws {
    let bench = try Bench(AdBlock.self)
    bench.feedPeer(Self.get)
    let space = String(repeating: " ", count: 100)
    let head = "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\nContent-Length:\(space)0034\(space)\r\n\r\n"
    bench.feed(Array(head.utf8))
    bench.feed(Array(Self.ad.utf8))
    #expect(Message.all(in: bench.output).map(\.body.text) == ["<p>ac"])
    #expect(bench.output.starts(with: "HTTP/1.1 ".utf8))
  }

  // MARK: Passed

  static let html = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
  static let length = "Content-Length: \(ad.utf8.count)\r\n"

  /// Responses that pass octet by octet, with the next response being edited again.
  @Test(arguments: [
    ("GET", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\(length)\r\n\(ad)"),
    ("GET", "HTTP/1.1 200 OK\r\n\(length)\r\n\(ad)"),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Type: text/htmlx\r\n\(length)\r\n\(ad)"),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n4;x\r\n<scr\r\n0\r\n\r\n"),
    ("GET", html + "Content-Encoding: gzip\r\n\(length)\r\n\(ad)"),
    ("GET", html + "Content-Encoding: br\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n<scr\r\n0\r\nX: y\r\n\r\n"),
    ("GET", html + "Content-Length: 0\r\n\r\n"),
    ("HEAD", html + "\(length)\r\n"),
    ("HEAD", html + "Transfer-Encoding: chunked\r\n\r\n"),
    ("HEAD", html + "\r\n"),
    ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Type: text/html\r\n\(length)\r\n"),
    ("GET", "HTTP/1.1 204 No Content\r\nContent-Type: text/html\r\n\r\n"),
    ("GET", "HTTP/1.1 206 Partial Content\r\nContent-Type: text/html\r\n\(length)\r\n\(ad)"),
    ("CONNECT", "HTTP/1.1 407 Auth\r\nContent-Type: text/plain\r\n\(length)\r\n\(ad)"),
  ])
  func passes(method: String, response: String) throws {
    for size in [1, 5, 33, 1_000] {
      let bench = try Bench(AdBlock.self)
      let target = method == "CONNECT" ? "a:443" : "/"
      bench.feedPeer(Array("\(method) \(target) HTTP/1.1\r\n\r\n".utf8))
      bench.feedPeer(Self.get)
      let bytes = Array((response + Self.html + Self.length + "\r\n" + Self.ad).utf8)
      for start in stride(from: 0, to: bytes.count, by: size) {
        bench.feed(bytes[start..<min(start + size, bytes.count)])
      }
      #expect(bench.output.starts(with: response.utf8), "in pieces of \(size)")
      let next = Message.all(in: Array(bench.output.dropFirst(response.utf8.count)))
      #expect(next.map(\.body.text) == ["<p>ac"], "in pieces of \(size)")
      #expect(bench.count("responses") == 2)
      #expect(bench.count("passed") == 1)
    }
  }

  /// Responses behind which nothing is touched any more, though it looks as if it should be.
  @Test(arguments: [
    // Two lengths, and none that all agree on.
    ("GET / HTTP/1.1", html + "Content-Length: 34\r\nContent-Length: 34\r\n\r\n\(ad)"),
    ("GET / HTTP/1.1", html + "Content-Length: 34, 34\r\n\r\n\(ad)"),
    ("GET / HTTP/1.1", html + "Content-Length: 34\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("GET / HTTP/1.1", html + "Transfer-Encoding: chunked\r\nContent-Length: 34\r\n\r\n0\r\n\r\n"),
    ("GET / HTTP/1.1", html + "Content-Length: +34\r\n\r\n\(ad)"),
    ("GET / HTTP/1.1", html + "Content-Length: 99999999999999999999\r\n\r\n\(ad)"),
    ("GET / HTTP/1.1", html + "Content-Length : 34\r\n\r\n\(ad)"),
    ("GET / HTTP/1.1", html + "Content-Length:\r\n 34\r\n\r\n\(ad)"),
    ("GET / HTTP/1.1", html + "X: a\r\n b\r\nContent-Length: 34\r\n\r\n\(ad)"),
    ("GET / HTTP/1.1", html + "X: a\nContent-Length: 34\r\n\r\n\(ad)"),
    ("GET / HTTP/1.1", html + "Content-Length: 34\r\n\n\(ad)"),
    ("GET / HTTP/1.1", html + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("GET / HTTP/1.1", html + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("GET / HTTP/1.1", html + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("GET / HTTP/1.1", "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("GET / HTTP/1.0", html + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("GET / HTTP/1.1", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("GET / HTTP/1.1", "not HTTP"),
    // A body that passes, with wrong chunks.
    ("GET / HTTP/1.1", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n"),
    ("GET / HTTP/1.1", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\rXabc\r\n0\r\n\r\n"),
    ("GET / HTTP/1.1", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;\nabc\r\n0\r\n\r\n"),
    ("GET / HTTP/1.1", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\n0\r\n\r\n"),
    ("GET / HTTP/1.1", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n0\r\n\r\n"),
    // Another protocol from here on.
    ("GET / HTTP/1.1", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    ("CONNECT a:443 HTTP/1.1", "HTTP/1.1 200 OK\r\n\r\n"),
  ])
  func touchesNothingFromThereOn(request: String, response: String) throws {
    let bytes = Array((response + Self.html + Self.length + "\r\n" + Self.ad).utf8)
    for size in [1, 5, 33, 1_000] {
      let bench = try Bench(AdBlock.self)
      bench.feedPeer(Array("\(request)\r\n\r\n".utf8))
      bench.feedPeer(Self.get)
      for start in stride(from: 0, to: bytes.count, by: size) {
        bench.feed(bytes[start..<min(start + size, bytes.count)])
      }
      #expect(bench.output.text == bytes.text, "in pieces of \(size)")
      let before = bench.peerOutput.count
      bench.feedPeer(Self.get)
      #expect(Array(bench.peerOutput.dropFirst(before)) == Self.get)
    }
  }

  @Test func passesALengthToAClientThatMayNotKnowChunks() throws {
    let bench = try Bench(AdBlock.self)
    bench.feedPeer(Array("GET / HTTP/1.0\r\n\r\n".utf8))
    bench.feed(Array((Self.html + Self.length + "\r\n" + Self.ad).utf8), isEnded: true)
    #expect(bench.output.text == Self.html + Self.length + "\r\n" + Self.ad)
    #expect(bench.count("passed") == 1)
  }

  @Test func editsInPlaceForAClientThatMayNotKnowChunks() throws {
    let bench = try Bench(AdBlock.self)
    bench.feedPeer(Array("GET / HTTP/1.0\r\n\r\n".utf8))
    bench.feed(Array((Self.html + "\r\n" + Self.ad).utf8), isEnded: true)
    #expect(bench.output.text == Self.html + "\r\n<p>ac")
  }

  @Test func passesAResponseThatNobodyHasAskedFor() throws {
    let bench = try Bench(AdBlock.self)
    bench.feedPeer(Self.get)
    let response = Self.html + Self.length + "\r\n" + Self.ad
    bench.feed(Array((response + response).utf8))
    #expect(bench.output.text.hasSuffix("0\r\n\r\n" + response))
  }

  // MARK: Ends

  @Test(arguments: [Framing.length, .chunks])
  func leavesATruncatedResponseTruncated(framing: Framing) throws {
    for seed in 0..<100 {
      var random = SplitMix(seed: seed)
      let bench = try Bench(AdBlock.self)
      bench.feedPeer(Self.get)
      let whole = framing.response(Page.wellFormed(600), &random)
      let body = whole.offset(of: Array("\r\n\r\n".utf8))! + 4
      bench.feed(Array(whole[..<Int.random(in: body..<whole.count, using: &random)]), cutBy: &random)
      let messages = Message.all(in: bench.output)
      #expect(messages.count == 1 && messages[0].isTruncated, "seed \(seed)")
    }
  }

  @Test func goesOnBehindWrongChunksOfAnEditedBodyAsItIs() throws {
    let bench = try Bench(AdBlock.self)
    bench.feedPeer(Self.get)
    bench.feedPeer(Self.get)
    let head = Self.html + "Transfer-Encoding: chunked\r\n\r\n"
    let rest = "XX0\r\n\r\n" + Self.html + Self.length + "\r\n" + Self.ad
    bench.feed(Array((head + "3\r\nabc" + rest).utf8))
    #expect(bench.output.text == head + "3\r\nabc\r\n" + rest)
    #expect(Message.all(in: bench.output).map(\.isTruncated) == [true])
  }

  @Test(arguments: Framing.allCases, [false, true])
  func stopsEditingWhenItIsDetachedAndFramesTheRest(framing: Framing, hasHeld: Bool) throws {
    var random = SplitMix(seed: 7)
    let bench = try Bench(AdBlock.self)
    bench.feedPeer(Self.get)
    bench.feedPeer(Self.get)
    let half = Self.ad + (hasHeld ? "<script src=page" : "")
    let page = Array((half + "ad>b</script>" + Self.ad).utf8)
    var response = framing.response(page, &random)
    if framing == .chunks {
      response = Array((Self.html + "Transfer-Encoding: chunked\r\n\r\n" + String(page.count, radix: 16) + "\r\n").utf8)
      response += page + Array("\r\n0\r\n\r\n".utf8)
    }
    let cut = response.offset(of: page)! + half.utf8.count
    bench.feed(response[..<cut])
    #expect(bench.retire() == (framing == .connection))
    let next = framing == .connection ? [] : Array((Self.html + Self.length + "\r\n" + Self.ad).utf8)
    bench.feed(response[cut...] + next)
    #expect(bench.retire())
    let messages = Message.all(in: bench.output)
    #expect(messages.first?.body == Array("<p>ac".utf8) + page[Self.ad.utf8.count...])
    #expect(messages.dropFirst().map(\.body.text) == (next.isEmpty ? [] : [Self.ad]))
    #expect(messages.filter(\.isTruncated) == [])
  }

  @Test func goesAtOnceWhereNothingIsBeingFramed() throws {
    let fresh = try Bench(AdBlock.self)
    #expect(fresh.retire())
    let between = try Bench(AdBlock.self)
    between.feedPeer(Self.get)
    between.feed(Array((Self.html + Self.length + "\r\n" + Self.ad).utf8))
    #expect(between.retire())
    let inHead = try Bench(AdBlock.self)
    inHead.feedPeer(Self.get)
    inHead.feed(Array(Self.html.utf8))
    #expect(inHead.retire())
  }

  @Test func takesANewListWithinAPage() throws {
    let bench = try Bench(AdBlock.self)
    bench.feedPeer(Self.get)
    bench.feed(Array((Self.html + "\r\n" + Self.ad).utf8))
    bench.adopt(AdBlock(["tracker"]))
    bench.feed(Array("<script src=pagead></script><script src=tracker></script>".utf8), isEnded: true)
    #expect(bench.output.text == Self.html + "\r\n<p>ac<script src=pagead></script>")
  }

  // MARK: Held for too long

  @Test func letsTheConnectionPassBehindHalfAHead() throws {
    let bench = try Bench(AdBlock.self)
    bench.feedPeer(Self.get)
    bench.feed(Array(Self.html.utf8))
    #expect(bench.output.isEmpty)
    bench.expire()
    bench.feed(Array((Self.length + "\r\n" + Self.ad).utf8))
    #expect(bench.output.text == Self.html + Self.length + "\r\n" + Self.ad)
  }

  @Test(arguments: Framing.allCases)
  func framesWhatMustGoWithinABody(framing: Framing) throws {
    var random = SplitMix(seed: 3)
    let bench = try Bench(AdBlock.self)
    bench.feedPeer(Self.get)
    let page = Array("ab<script src=pagead>x</script>cd".utf8)
    let response = framing.response(page, &random)
    for octet in response {
      bench.feed([octet])
      if bench.output.count > 90 { bench.expire() }
    }
    bench.feed([], isEnded: true)
    let messages = Message.all(in: bench.output)
    // Every octet had to go alone, so that no tag was seen as a whole.
    #expect(messages.map(\.body.text) == [page.text])
    #expect(messages.map(\.isTruncated) == [false])
  }
}
