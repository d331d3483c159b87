"""Sentences in 15 languages, and names and codes, with queries and the sentence that answers each.

Written for these tests. A query has other forms of the words than its sentence, or a part of them.
"""

from typing import NamedTuple


class Language(NamedTuple):
    """Sentences, and pairs of a query and the number of the sentence that answers it."""

    sentences: tuple[str, ...]
    queries: tuple[tuple[str, int], ...]


LANGUAGES = {
    "english": Language(
        (
            "The bakery on the corner sells fresh bread every morning.",
            "Our library opens at nine and closes at six.",
            "She repairs old bicycles in her garage.",
            "The river flooded the fields after three days of rain.",
            "Children under ten travel free on all trains.",
            "He wrote a letter to the mayor about the broken street lamps.",
            "The museum shows paintings by unknown artists.",
            "Tomatoes need sun, water and patience.",
        ),
        (
            ("when do libraries open", 1),
            ("repairing a bicycle", 2),
            ("flooding of rivers", 3),
            ("paintings of an unknown artist", 6),
        ),
    ),
    "german": Language(
        (
            "Die Bäckerei an der Ecke verkauft jeden Morgen frisches Brot.",
            "Unsere Bücherei öffnet um neun und schließt um sechs.",
            "Sie repariert alte Fahrräder in ihrer Garage.",
            "Der Fluss überschwemmte die Felder nach drei Tagen Regen.",
            "Kinder unter zehn fahren in allen Zügen kostenlos.",
            "Er schrieb dem Bürgermeister einen Brief über die kaputten Straßenlaternen.",
            "Das Museum zeigt Gemälde unbekannter Künstler.",
            "Tomaten brauchen Sonne, Wasser und Geduld.",
        ),
        (
            ("kaputte Strassenlaternen", 5),
            ("überschwemmtes Feld", 3),
            ("altes Fahrrad reparieren", 2),
            ("unbekannte Kuenstler Museum", 6),
        ),
    ),
    "french": Language(
        (
            "La boulangerie du coin vend du pain frais chaque matin.",
            "Notre bibliothèque ouvre à neuf heures et ferme à six heures.",
            "Elle répare de vieux vélos dans son garage.",
            "La rivière a inondé les champs après trois jours de pluie.",
            "Les enfants de moins de dix ans voyagent gratuitement dans tous les trains.",
            "Il a écrit une lettre au maire au sujet des lampadaires cassés.",
            "Le musée présente des peintures d'artistes inconnus.",
            "Les tomates ont besoin de soleil, d'eau et de patience.",
        ),
        (
            ("bibliotheque ouverte", 1),
            ("l'artiste inconnu", 6),
            ("réparer un vélo", 2),
            ("voyage gratuit des enfants", 4),
        ),
    ),
    "spanish": Language(
        (
            "La panadería de la esquina vende pan fresco cada mañana.",
            "Nuestra biblioteca abre a las nueve y cierra a las seis.",
            "Ella repara bicicletas viejas en su garaje.",
            "El río inundó los campos después de tres días de lluvia.",
            "Los niños menores de diez años viajan gratis en todos los trenes.",
            "Escribió una carta al alcalde sobre las farolas rotas.",
            "El museo muestra pinturas de artistas desconocidos.",
            "Los tomates necesitan sol, agua y paciencia.",
        ),
        (
            ("bicicleta vieja", 2),
            ("ninos viajando en tren", 4),
            ("la farola rota", 5),
            ("pintura de un artista desconocido", 6),
        ),
    ),
    "portuguese": Language(
        (
            "A padaria da esquina vende pão fresco todas as manhãs.",
            "A nossa biblioteca abre às nove e fecha às seis.",
            "Ela conserta bicicletas antigas na garagem.",
            "O rio inundou os campos depois de três dias de chuva.",
            "Crianças com menos de dez anos viajam de graça em todos os comboios.",
            "Ele escreveu uma carta ao presidente da câmara sobre os candeeiros partidos.",
            "O museu mostra pinturas de artistas desconhecidos.",
            "Os tomates precisam de sol, água e paciência.",
        ),
        (
            ("consertar bicicleta", 2),
            ("pao fresco", 0),
            ("inundação do campo pela chuva", 3),
            ("artista desconhecido", 6),
        ),
    ),
    "russian": Language(
        (
            "Пекарня на углу каждое утро продаёт свежий хлеб.",
            "Наша библиотека открывается в девять и закрывается в шесть.",
            "Она чинит старые велосипеды в своём гараже.",
            "Река затопила поля после трёх дней дождя.",
            "Дети до десяти лет ездят во всех поездах бесплатно.",
            "Он написал мэру письмо о сломанных уличных фонарях.",
            "Музей показывает картины неизвестных художников.",
            "Помидорам нужны солнце, вода и терпение.",
        ),
        (
            ("старый велосипед", 2),
            ("письма о сломанном фонаре", 5),
            ("картина неизвестного художника", 6),
            ("продает свежего хлеба", 0),
        ),
    ),
    "turkish": Language(
        (
            "Köşedeki fırın her sabah taze ekmek satıyor.",
            "Kütüphanemiz dokuzda açılır ve altıda kapanır.",
            "Garajında eski bisikletleri tamir ediyor.",
            "Nehir üç günlük yağmurdan sonra tarlaları bastı.",
            "On yaşından küçük çocuklar bütün trenlerde ücretsiz seyahat eder.",
            "Belediye başkanına bozuk sokak lambaları hakkında bir mektup yazdı.",
            "Müze, bilinmeyen ressamların tablolarını sergiliyor.",
            "Domatesler güneş, su ve sabır ister.",
        ),
        (
            ("eski bisiklet tamiri", 2),
            ("bozuk lamba", 5),
            ("ressam tablosu", 6),
            ("IŞIKLI DEĞİL, ÜCRETSİZ TREN", 4),
        ),
    ),
    "finnish": Language(
        (
            "Kulman leipomo myy tuoretta leipää joka aamu.",
            "Kirjastomme avautuu yhdeksältä ja sulkeutuu kuudelta.",
            "Hän korjaa vanhoja polkupyöriä autotallissaan.",
            "Joki tulvi pelloille kolmen sadepäivän jälkeen.",
            "Alle kymmenvuotiaat lapset matkustavat kaikissa junissa ilmaiseksi.",
            "Hän kirjoitti pormestarille kirjeen rikkinäisistä katulampuista.",
            "Museo esittelee tuntemattomien taiteilijoiden maalauksia.",
            "Tomaatit tarvitsevat aurinkoa, vettä ja kärsivällisyyttä.",
        ),
        (
            ("vanhat polkupyörät", 2),
            ("tuore leipä", 0),
            ("lapset junassa", 4),
            ("tuntematon taiteilija, maalaus", 6),
        ),
    ),
    "hindi": Language(
        (
            "कोने की बेकरी हर सुबह ताज़ी रोटी बेचती है।",
            "हमारा पुस्तकालय नौ बजे खुलता है और छह बजे बंद होता है।",
            "वह अपने गैराज में पुरानी साइकिलें ठीक करती है।",
            "तीन दिन की बारिश के बाद नदी ने खेतों में बाढ़ ला दी।",
            "दस साल से छोटे बच्चे सभी रेलगाड़ियों में मुफ़्त यात्रा करते हैं।",
            "उसने टूटी हुई बत्तियों के बारे में महापौर को पत्र लिखा।",
            "संग्रहालय अनजान कलाकारों के चित्र दिखाता है।",
            "टमाटरों को धूप, पानी और धैर्य चाहिए।",
        ),
        (
            ("पुरानी साइकिल", 2),
            ("पुस्तकालय कब खुलता", 1),
            ("कलाकार का चित्र", 6),
            ("ताज़ी रोटी", 0),
        ),
    ),
    "arabic": Language(
        (
            "يبيع المخبز عند الزاوية خبزا طازجا كل صباح.",
            "تفتح مكتبتنا في التاسعة وتغلق في السادسة.",
            "تصلح الدراجات القديمة في مرآبها.",
            "غمر النهر الحقول بعد ثلاثة أيام من المطر.",
            "يسافر الأطفال دون العاشرة مجانا في كل القطارات.",
            "كتب رسالة إلى رئيس البلدية عن المصابيح المكسورة.",
            "يعرض المتحف لوحات لفنانين مجهولين.",
            "تحتاج الطماطم إلى الشمس والماء والصبر.",
        ),
        (
            ("دراجات قديمة", 2),
            ("خبز طازج", 0),
            ("القِطارات والأطفال", 4),
            ("لوحات المتحف", 6),
        ),
    ),
    "hebrew": Language(
        (
            "המאפייה בפינה מוכרת לחם טרי בכל בוקר.",
            "הספרייה שלנו נפתחת בתשע ונסגרת בשש.",
            "היא מתקנת אופניים ישנים במוסך שלה.",
            "הנהר הציף את השדות אחרי שלושה ימי גשם.",
            "ילדים מתחת לגיל עשר נוסעים חינם בכל הרכבות.",
            "הוא כתב לראש העיר מכתב על פנסי הרחוב השבורים.",
            "המוזיאון מציג ציורים של אמנים לא ידועים.",
            "עגבניות צריכות שמש, מים וסבלנות.",
        ),
        (
            ("לֶחֶם טָרִי", 0),
            ("ספרייה נפתחת", 1),
            ("הרכבות לילדים חינם", 4),
            ("מוזיאון ציורים", 6),
        ),
    ),
    "chinese": Language(
        (
            "街角的面包店每天早上卖新鲜面包。",
            "我们的图书馆九点开门，六点关门。",
            "她在车库里修理旧自行车。",
            "下了三天雨以后，河水淹没了田地。",
            "十岁以下的儿童可以免费乘坐所有火车。",
            "他给市长写信反映路灯损坏的问题。",
            "博物馆展出无名画家的作品。",
            "西红柿需要阳光、水和耐心。",
        ),
        (
            ("图书馆几点开门", 1),
            ("修自行车", 2),
            ("儿童火车票免费吗", 4),
            ("画家作品", 6),
        ),
    ),
    "japanese": Language(
        (
            "角のパン屋は毎朝焼きたてのパンを売っています。",
            "私たちの図書館は九時に開き、六時に閉まります。",
            "彼女はガレージで古い自転車を修理しています。",
            "三日間の雨のあと、川が畑にあふれました。",
            "十歳未満の子どもはすべての電車に無料で乗れます。",
            "彼は壊れた街灯について市長に手紙を書きました。",
            "美術館は無名の画家の絵を展示しています。",
            "トマトには太陽と水と忍耐が必要です。",
        ),
        (
            ("図書館はいつ開く", 1),
            ("自転車の修理", 2),
            ("ﾄﾏﾄの育て方", 7),
            ("無料の電車", 4),
        ),
    ),
    "korean": Language(
        (
            "모퉁이 빵집은 매일 아침 신선한 빵을 팝니다.",
            "우리 도서관은 아홉 시에 열고 여섯 시에 닫습니다.",
            "그녀는 차고에서 낡은 자전거를 고칩니다.",
            "사흘 동안 비가 온 뒤 강이 밭을 덮쳤습니다.",
            "열 살 미만의 어린이는 모든 기차를 무료로 탑니다.",
            "그는 고장 난 가로등에 대해 시장에게 편지를 썼습니다.",
            "미술관은 이름 없는 화가들의 그림을 전시합니다.",
            "토마토에는 햇빛과 물과 인내가 필요합니다.",
        ),
        (
            ("도서관 시간", 1),
            ("자전거 수리, 낡은 자전거", 2),
            ("어린이 기차", 4),
            ("화가 그림", 6),
        ),
    ),
    "thai": Language(
        (
            "ร้านขนมปังที่หัวมุมขายขนมปังสดทุกเช้า",
            "ห้องสมุดของเราเปิดเก้าโมงและปิดหกโมง",
            "เธอซ่อมจักรยานเก่าในโรงรถ",
            "แม่น้ำท่วมทุ่งนาหลังฝนตกสามวัน",
            "เด็กอายุต่ำกว่าสิบขวบขึ้นรถไฟทุกขบวนฟรี",
            "เขาเขียนจดหมายถึงนายกเทศมนตรีเรื่องไฟถนนเสีย",
            "พิพิธภัณฑ์จัดแสดงภาพวาดของศิลปินนิรนาม",
            "มะเขือเทศต้องการแดด น้ำ และความอดทน",
        ),
        (
            ("ซ่อมจักรยาน", 2),
            ("ห้องสมุดเปิดกี่โมง", 1),
            ("รถไฟฟรีสำหรับเด็ก", 4),
            ("ภาพวาดศิลปิน", 6),
        ),
    ),
}

CODES = Language(
    (
        "C++17 added structured bindings to the language.",  # 0
        "Write C# for the new desktop client.",  # 1
        "F# is a functional language of the same family.",  # 2
        "The C compiler is called gcc.",  # 3
        "A .NET service listens on port 8080.",  # 4
        "Install node.js before the build.",  # 5
        "AT&T raised the price of long-distance calls.",  # 6
        "Send the R&D budget to the board.",  # 7
        "Order the part AB-1234-X from the warehouse.",  # 8
        "Part AB-1234-Y was withdrawn last year.",  # 9
        "Call getUserName before saveProfile.",  # 10
        "The variable max_retry_count is set to five.",  # 11
        "HTTPServer and XMLParser are two classes of the old module.",  # 12
        "Hepatitis A is spread by food.",  # 13
        "Hepatitis B is spread by blood.",  # 14
        "The IT department fixed the printer.",  # 15
        "Vitamin D is made in the skin.",  # 16
        "The US army bought trucks.",  # 17
        "Let us buy trucks.",  # 18
        "Version v2.13.0 mends the leak.",  # 19
        "Version v2.12.1 has the leak.",  # 20
        "ISBN 978-3-16-148410-0 is out of print.",  # 21
        "Error E1001: the disk is full.",  # 22
        "Error E1002: the cable is loose.",  # 23
        "A bolt of M8x40 fits the frame.",  # 24
        "The tank holds 2,500 litres.",  # 25
        "Use a 2.5-inch drive for the laptop.",  # 26
        "Set the oven to 180°C for the cake.",  # 27
        "The GTX 1080Ti has eleven gigabytes.",  # 28
        "O'Brien met McDonald at the ﬁnal.",  # 29
        "Motörhead played after Sigur Rós.",  # 30
        "IPv6 addresses replace those of IPv4.",  # 31
        "The RFC 9110 describes HTTP semantics.",  # 32
        "Mount /dev/sda1 before the copy.",  # 33
        "Write to billing@example.org about invoices.",  # 34
        "COVID-19 changed the plan for the fair.",  # 35
        "A Wi-Fi network of the guests is slow.",  # 36
        "The state-of-the-art model is large.",  # 37
        "json.dumps writes text, json.loads reads it.",  # 38
        "Run pip install scikit-learn first.",  # 39
    ),
    (
        ("c++", 0), ("C#", 1), ("f#", 2), ("c compiler", 3), (".net", 4), ("dotnet .NET", 4),
        ("nodejs", 5), ("AT&T", 6), ("r&d", 7), ("AB-1234-X", 8), ("ab1234y", 9),
        ("user name", 10), ("getusername", 10), ("max_retry_count", 11), ("retry count", 11),
        ("xml parser", 12), ("hepatitis A", 13), ("hepatitis B", 14), ("IT department", 15),
        ("vitamin D", 16), ("US army", 17), ("2.13.0", 19), ("v2.12.1", 20),
        ("9783161484100", 21), ("978-3-16-148410-0", 21), ("E1001", 22), ("e1002", 23),
        ("M8x40", 24), ("2500 litres", 25), ("2.5 inch drive", 26), ("180 C", 27),
        ("1080 Ti", 28), ("obrien final", 29), ("motorhead", 30), ("ipv6", 31),
        ("RFC 9110", 32), ("sda1", 33), ("billing@example.org", 34), ("covid 19", 35),
        ("wifi", 36),
    ),
)  # fmt: skip
