"""Words of goods texts that name no goods, or only a sort of goods, in four languages.

After the European Commission's guidance on acceptable goods descriptions and the stop words of the
Import Control System 2 (ICS2): facts, in a list of our own. Without accents and capitals.
"""

from typing import Final

NAMES_NOTHING: Final = {
    "en": """
        accessories accessory article assorted assortment belongings bulk cargo commodities
        commodity component consignment consolidated consumer content contents daily description
        dummy effects freight gift giveaway good goods groupage household industrial item load lot
        lots material merchandise misc miscellaneous mixed mystery na necessities none novelties
        novelty object other others package parcel part personal piece present private product promo
        promotional property purchase removal removals replacement requisites retail return returned
        sample shipment souvenir spare spares specified specimen stc stuff sundries sundry supplies
        surprise tba tbd test thing trade unknown unspecified various ware wares wholesale xx xxx
    """,
    "fr": """
        accessoire anniversaire article assortiment autre autres bien biens cadeau cadeaux cargaison
        chose colis composant consommation contenu courant demenagement description detachee divers
        diverse echantillon effet element envoi fete fourniture fret inconnu marchandise materiel
        menager neant objet personnel personnelle piece prive produit promotionnel quotidien
        rechange souvenir specifie surprise varie
    """,
    "nl": """
        accessoire allerlei andere artikel assortiment benodigdheden bezitting bezittingen cadeau
        cadeautje diverse diversen eigendommen gebruiksvoorwerpen gemengde geschenk goed goederen
        huishoudartikel huishoudelijke huishoudgoederen huisraad inboedel inhoud kerstcadeau
        kleinigheid koopwaar lading materiaal materialen monster omschrijving onbekend onderdeel
        onderdelen overige pakket persoonlijke product proefmonster promotieartikel
        promotieartikelen relatiegeschenk reserveonderdeel reserveonderdelen sinterklaascadeau
        spullen stalen stuk stukken toebehoren verbruiksgoederen verhuisboedel verhuisgoed
        verhuisgoederen verjaardagscadeau verrassing verschillende vervangstukken voorwerp vracht
        waar waren wisselstuk wisselstukken zending
    """,
    "de": """
        allerlei andere angabe artikel bauteil bedarf bedarfsartikel beschreibung diverse diverses
        effekten einzelteil ersatzteil erzeugnis erzeugnisse fracht gastgeschenk gebrauchsgegenstand
        gebrauchsgegenstande geburtstagsgeschenk gegenstand gegenstande gemischte geschenk
        geschenkartikel geschenksendung gut guter habe handelsware haushaltsartikel
        haushaltsgegenstand haushaltsgegenstande haushaltsware hausrat inhalt komponente konsumguter
        ladung mitbringsel muster paket personliche personlicher probe produkt sammelgut sendung
        sonstige sonstiges sortiment stuckgut teil uberraschung umzugsgut unbekannt verschiedene
        verschiedenes ware warenmuster warenprobe weihnachtsgeschenk werbeartikel werbegeschenk
        werbemittel zubehor zubehorteil
    """,
}
"""Language → words. Goods texts of such words alone say nothing of the goods."""
NAMES_A_SORT: Final = {
    "en": """
        agricultural aircraft apparatus apparel appliance auto automotive beauty car chemical
        chemistry cleaning clothes clothing cosmetics device electrical electronic electronics
        equipment fabric fashion food foodstuff gadget garment groceries hardware hobby iron leather
        leisure lifestyle machine machinery medical medicine metal outdoor pharmaceutical plastic
        rubber sanitary sport sports steel textile tool vehicle wear
    """,
    "fr": """
        acier agricole aliment alimentaire appareil auto automobile avion beaute caoutchouc chimique
        cosmetique cuir denree electrique electronique equipement habillement habit loisir loisirs
        machine medicament metal metallique mode nettoyage outil outillage pharmaceutique plastique
        sport sportif textile tissu vehicule vestimentaire vetement voiture
    """,
    "nl": """
        apparaat apparaten apparatuur auto chemicalien chemische cosmetica elektrische elektronica
        elektronische etenswaren geneesmiddel geneesmiddelen gereedschap kleding kleren kunststof
        landbouw leder levensmiddel levensmiddelen machine medicijn metaal mode plastic rubber sport
        sportartikel sportartikelen stoffen textiel toestel toestellen uitrusting vliegtuig voeding
        voedingsmiddelen voedsel voertuig
    """,
    "de": """
        arzneimittel ausrustung auto autoteil bekleidung chemikalien eisen elektro elektroartikel
        elektrogerat elektronik elektronische fahrzeug fahrzeugteil flugzeugteil gerat gummi
        haushaltsgerat kfz kleidung kosmetik kosmetika kunststoff landwirtschaftlich lebensmittel
        leder maschine maschinenteil medikament metall mode modeartikel nahrungsmittel plastik sport
        sportartikel stahl stoff textilien werkzeug
    """,
}
"""Language → words. Alone, or with the words above and below, they leave many chapters open."""
MODIFIERS: Final = {
    "en": """
        a all and anniversary any as attached birthday brand brother children christmas colleague
        commercial contain containing ctn customer dad day ecommerce etc family father for free
        friend from general gents her him his home husband in including industry invoice kg kid kind
        ladies lady list men mens mom mother my n new no non not of office on online only or order
        our pack packing pair pc pcs per pkg purpose ref s said sale see set shop sister small son
        that the their to type unit use value wedding wife with without women womens x your
    """,
    "fr": """
        a ami amie au aucun aucune avec ci commande commercial commerciale d dame de des du en
        enfant et facture famille femme homme joint jointe l la le les liste ma maison maman mere
        mes mon ne neuf noel non notre nouveau papa par pere pour sa sans selon ses son un une usage
        valeur vente voir
    """,
    "nl": """
        bestelling bijgevoegd bijlage commerciele dames de een eigen en factuur familie gebruik
        gebruikt geen haar handelswaarde heren het huis in kinderen lijst met mijn moeder niet nieuw
        of op te tweedehands vader van verkoop volgens voor vriend vriendin waarde zie zijn zonder
    """,
    "de": """
        anlage aus beigefugt bestellung damen das dem den der des die ein eine familie freund
        freundin fur gebrauch gebraucht gemass handelswert haus herren ihr kein keine kinder laut
        lieferschein liste mein meine mit mutter nach neu oder ohne rechnung sein siehe stuck und
        vater verkauf von wert zu zum zur
    """,
}
"""Language → words that add nothing to either."""
