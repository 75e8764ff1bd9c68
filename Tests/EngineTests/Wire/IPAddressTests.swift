import Testing

@testable import Engine

@Suite struct IPAddressTests {
  @Test(arguments: [
    ("0.0.0.0", "0.0.0.0"), ("192.0.2.255", "192.0.2.255"), ("::ffff:192.0.2.1", "192.0.2.1"),
    ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
    ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
    ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
    ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"), ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"), ("fe80::0a", "fe80::a"),
  ])
  func textIsReadAndWrittenCanonically(text: String, canonical: String) throws {
    let address = try #require(IPAddress(text))
    #expect(address.description == canonical)
    #expect(IPAddress(canonical) == address)
  }

  @Test(arguments: [
    "", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.", "1..2.3", " 1.2.3.4", "1.2.3.-4", ":", ":1", "1:",
    ":::",
    "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "12345::", "g::", "::1.2.3", "1.2.3.4::",
    "fe80::1%eth0", "1:2:3:4:5:6:7:1.2.3.4",
  ])
  func nonsenseIsRefused(text: String) { #expect(IPAddress(text) == nil) }

  @Test func onlyMappedAddressesAreIPv4() {
    #expect(IPAddress(v4: 0xc000_0201).isIPv4)
    #expect(IPAddress(v4: 0xc000_0201) == IPAddress("192.0.2.1"))
    #expect(!IPAddress(high: 0, low: 1).isIPv4)
    #expect(!IPAddress(high: 1, low: 0xffff_0000_0001).isIPv4)
  }
}
