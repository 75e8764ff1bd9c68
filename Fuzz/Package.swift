// swift-tools-version: 6.2
import PackageDescription

/// A package of its own, so that the sanitizers and the fuzzer's run time never reach the product.
let package = Package(
  name: "Fuzz",
  dependencies: [.package(name: "flowos", path: "..")],
  targets: [
    .target(name: "CFuzzer"),
    .executableTarget(
      name: "FuzzEngine",
      dependencies: [
        "CFuzzer", .product(name: "Engine", package: "flowos"), .product(name: "ModuleTesting", package: "flowos"),
      ],
      swiftSettings: [.swiftLanguageMode(.v6)]),
  ]
)
