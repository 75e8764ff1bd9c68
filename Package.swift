// swift-tools-version: 6.2
import PackageDescription

/// Every target of ours builds under the same rules: memory safety is checked, and a warning is an error.
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
  name: "flowos",
  products: [
    .executable(name: "flowos", targets: ["flowos"]),
    .executable(name: "flowctl", targets: ["flowctl"]),
    .library(name: "FlowOS", targets: ["FlowOS"]),
    .library(name: "ModuleTesting", targets: ["ModuleTesting"]),
    .library(name: "Engine", targets: ["Engine"]),
    .library(name: "Modules", targets: ["Modules"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
  ],
  targets: [
    .systemLibrary(
      name: "CNetfilter", pkgConfig: "libnetfilter_queue",
      providers: [.apt(["libnetfilter-queue-dev", "libmnl-dev", "libnfnetlink-dev"])]),
    .systemLibrary(name: "CLinux"),
    .systemLibrary(name: "CPcap", pkgConfig: "libpcap", providers: [.apt(["libpcap-dev"])]),
    .systemLibrary(name: "CHTTPParser", providers: [.apt(["libhttp-parser-dev"])]),
    .target(
      name: "Engine",
      dependencies: [
        "CLinux",
        .product(name: "DequeModule", package: "swift-collections"),
        .product(name: "HeapModule", package: "swift-collections"),
      ],
      swiftSettings: strict),
    .target(name: "Modules", dependencies: ["Engine", "CHTTPParser"], swiftSettings: strict),
    .target(
      name: "Netfilter",
      dependencies: ["Engine", "CNetfilter", .product(name: "SystemPackage", package: "swift-system")],
      swiftSettings: strict),
    .target(
      name: "Control",
      dependencies: [
        "Engine", "CLinux",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: strict),
    .target(
      name: "FlowOS",
      dependencies: [
        "Engine", "Modules", "Netfilter", "Control", "CLinux", "CPcap",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: strict),
    .executableTarget(name: "flowos", dependencies: ["FlowOS"], swiftSettings: strict),
    .target(name: "ModuleTesting", dependencies: ["Engine"], swiftSettings: strict),
    .executableTarget(
      name: "flowctl",
      dependencies: [
        "Control", "Engine",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: strict),
    .testTarget(
      name: "EngineTests",
      dependencies: [
        "Engine", "ModuleTesting",
        .product(name: "DequeModule", package: "swift-collections"),
        .product(name: "HeapModule", package: "swift-collections"),
      ],
      swiftSettings: strict),
    .testTarget(name: "ModulesTests", dependencies: ["Engine", "Modules", "ModuleTesting"], swiftSettings: strict),
    .testTarget(name: "ModuleTestingTests", dependencies: ["Engine", "ModuleTesting"], swiftSettings: strict),
    .testTarget(
      name: "NetfilterTests",
      dependencies: [
        "Engine", "Netfilter", "ModuleTesting", "CNetfilter",
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: strict),
    .testTarget(
      name: "ControlTests", dependencies: ["Engine", "Control", "ModuleTesting", "flowctl"], swiftSettings: strict),
  ]
)

// What has threads in it is tested under a sanitizer without the rest; the compiler (6.3.1) fails over that.
if Context.environment["FLOWOS_ENGINE_ONLY"] != nil {
  package.products.removeAll { $0.name != "Engine" }
  package.targets.removeAll { !["CLinux", "Engine", "EngineTests", "ModuleTesting"].contains($0.name) }
}
